"""The operators of torch that a program may consist of which is run as native code.

The interpreter checks each number that a caller sends before something is looked up by it. Inductor leaves some of
these checks out (`_unsafe_index`, the upsampling ones whose scales say something else than their sizes), and in code
for several threads what fails one ends the process: so a program whose answers name places in memory could read what
is not its own, and golden rows, which are in range, do not show it (torch 2.13). Here stand those alone that compute
where they read from shapes and constants, and divide no whole numbers: what linear, convolutional and attention layers
are made of. Programs of others run as they are.
"""

from typing import Final

_POINTWISE: Final = """
    abs acos acosh add addcdiv addcmul asin asinh atan atan2 atanh ceil celu clamp clamp_max clamp_min cos cosh div elu
    eq erf erfc exp exp2 expm1 float_power floor ge gelu gt hardshrink hardsigmoid hardswish hardtanh isfinite isinf
    isnan le leaky_relu lerp log log10 log1p log2 log_sigmoid logical_and logical_not logical_or logical_xor lt
    masked_fill maximum minimum mish mul nan_to_num ne neg pow prelu reciprocal relu relu6 round rsqrt rsub selu sigmoid
    sign silu sin sinh softplus softshrink sqrt square sub tan tanh threshold trunc where _prelu_kernel
"""
_REDUCING: Final = """
    all amax amin any argmax argmin cumprod cumsum log_softmax logsumexp max mean min prod softmax std sum var var_mean
    _log_softmax _safe_softmax _softmax
"""
_LAYERS: Final = """
    adaptive_avg_pool1d adaptive_avg_pool2d addbmm addmm addmv avg_pool1d avg_pool2d avg_pool3d baddbmm batch_norm bmm
    conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d convolution dot dropout einsum
    feature_dropout group_norm instance_norm layer_norm linear matmul max_pool1d max_pool2d max_pool3d mm mv
    native_batch_norm native_group_norm native_layer_norm rms_norm scaled_dot_product_attention _adaptive_avg_pool2d
    _native_batch_norm_legit_no_training
"""
_SHAPING: Final = """
    alias arange broadcast_to cat chunk clone concat constant_pad_nd contiguous detach expand expand_as flatten
    full full_like lift_fresh_copy movedim narrow new_full new_ones new_zeros ones ones_like permute pixel_shuffle
    pixel_unshuffle reshape scalar_tensor select slice split split_with_sizes squeeze stack swapaxes swapdims sym_numel
    sym_size t to transpose tril triu unbind unflatten unsafe_split unsafe_split_with_sizes unsqueeze view view_as zeros
    zeros_like _assert_tensor_metadata _to_copy _unsafe_view
"""

NATIVE: Final = frozenset(" ".join((_POINTWISE, _REDUCING, _LAYERS, _SHAPING)).split())
"""Names under `torch.ops.aten`, without overload, and without the `_` of those that work in place."""
WHOLE_NUMBERS: Final = frozenset({"div.Tensor_mode", "div.Scalar_mode"})
"""Overloads of these that are left out: what divides whole numbers by 0 raises."""
