"""A plan carried out: pairs put in, weights and biases stored.

- ``absorbed_nodes``: Takes out the Relu and Clip nodes whose work storing does already.
- ``dynamic``: Activations quantized while the model runs: no calibration, and a range for every input it
  sees.
- ``dynamic_and_weight_only``: The smaller sisters of static quantization: dynamic, and weights alone. Both
  need no samples.
- ``insertion``: Surgery: put the QuantizeLinear and DequantizeLinear nodes of a plan into a graph.
- ``plan_check``: Hold a plan, made for another model or edited, against the model it is to be carried out on.
- ``saturation``: Which weights saturate where pairs of products are summed in 16 bits, as processors without
  VNNI do.
- ``sizes``: Whether quantization makes a file smaller: what integers save, and what their scales and nodes
  weigh.
- ``weight_only``: Weights alone in 8 or 4 bits: smaller files; activations and sums stay float.
- ``weights``: Weights in int8 and biases in int32.
"""
