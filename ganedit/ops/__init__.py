"""Differentiable primitives; each a public function that supports double backward."""

from ganedit.ops.bias_act import Activation, activation_gain, bias_act
from ganedit.ops.composite import composite
from ganedit.ops.filtered_lrelu import filtered_lrelu
from ganedit.ops.interpolate import lerp, slerp
from ganedit.ops.modulated_conv2d import modulated_conv2d
from ganedit.ops.resampled_conv2d import downsampling_conv2d, upsampling_conv2d
from ganedit.ops.triplane_sample import PlaneAxes, triplane_sample
from ganedit.ops.upfirdn2d import downsample2d, setup_filter, upfirdn2d, upsample2d

__all__ = [
    "Activation",
    "PlaneAxes",
    "activation_gain",
    "bias_act",
    "composite",
    "downsample2d",
    "downsampling_conv2d",
    "filtered_lrelu",
    "lerp",
    "modulated_conv2d",
    "setup_filter",
    "slerp",
    "triplane_sample",
    "upfirdn2d",
    "upsample2d",
    "upsampling_conv2d",
]
