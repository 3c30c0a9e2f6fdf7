"""The scripts that run in the environment of each backend, which has numpy and the backend alone.

- ``worker``: What every worker does: read the request, run each model, time them in turn, write the answer.
- ``run_iree``: Run models in IREE, compiled by LLVM for this processor.
- ``run_litert``: Convert models by onnx2tf for LiteRT, and run them there.
- ``run_mnn``: Convert models for MNN and run them there.
- ``run_ncnn``: Convert models by pnnx for ncnn, and run them there.
- ``run_onnxruntime``: Run models in onnxruntime on the CPU.
- ``run_opencv``: Run models in OpenCV's dnn module, by its new engine or the classic one.
- ``run_openvino``: Run models in OpenVINO on the CPU.
- ``run_reference``: Run models in ONNX's own reference evaluator.
- ``run_tract``: Run models in tract.
- ``run_tvm``: Run models in TVM.
- ``ncnn_int8``: Turn a float model of ncnn into one of 8-bit integers.
"""
