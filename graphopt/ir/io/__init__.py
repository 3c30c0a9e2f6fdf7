"""Files to graphs and back: what nobody touched is written as it was read.

- ``accept``: Models as Python callers have them: a path, bytes, a ModelProto, a graphsurgeon graph, or a
  Model.
- ``attributes``: Node attributes, parsed when read and written back byte for byte when not changed.
- ``exporter``: Turn the live graph back into protos; what nobody touched is written as it was read.
- ``importer``: Build the live graph from a weightless ModelProto; the protos stay and are parsed when read.
- ``load``: Read ONNX files: mapped, with weights left where they are.
- ``protos``: Walks over protobuf messages.
- ``save``: Write models: one stream, weights copied from where they lie, the output complete or not there.
- ``weights``: The weight store: payloads stay in their files until somebody reads them.
- ``wire``: Move tensor payloads out of, and back into, a serialised ONNX message without parsing it.
"""
