"""Static 8-bit quantization with QuantizeLinear and DequantizeLinear pairs."""

from .quant import Quant

__all__ = ["Quant"]
