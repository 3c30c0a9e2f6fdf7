"""Named preprocessing recipes; each is an ordinary preprocess text that overrides may follow."""

from __future__ import annotations

_IMAGENET = "mean=0.485,0.456,0.406;std=0.229,0.224,0.225"

PRESETS: dict[str, str] = {
    # torchvision's evaluation transform
    "imagenet": f"resize=256;crop=224;scale=1/255;{_IMAGENET}",
    # Ultralytics: grey bars around the whole image, values 0..1
    "yolo": "letterbox=model;scale=1/255",
    # PaddleOCR DetResizeForTest and NormalizeImage: BGR, and ImageNet's numbers in the order they are written
    "ppocr-det": f"longest=960;multiple=32;color=bgr;scale=1/255;{_IMAGENET}",
    # PaddleOCR RecResizeImg: (x/255 - 0.5) / 0.5 of a BGR line 48 pixels high
    "ppocr-rec": "height=48;width=keep;color=bgr;scale=1/255;mean=0.5;std=0.5",
}
