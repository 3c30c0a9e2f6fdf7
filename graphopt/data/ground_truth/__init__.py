"""What is right for each sample of a detector or a segmenter.

- ``annotations``: Annotation files that belong to images by name: COCO, YOLO text files, mask images.
- ``boxes``: Boxes of one image, and what finds them, or a mask, for a sample.
- ``truth``: What is right for each sample of a detector or a segmenter: boxes and masks beside the images.
"""
