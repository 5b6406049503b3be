"""Operators that work in any layout of their data: one node each, or several, over x."""

from __future__ import annotations

#: Nodes over x (float[1,4,2,6]) that keep its axes, the constants they need, and what they give.
FLEXIBLE = {
    "unary": ("Exp(x)", "", "float[1,4,2,6]"),
    "clip": ("Clip(x, l)", "float l = {0.0}", "float[1,4,2,6]"),
    "cast": ("Cast<to=1>(x)", "", "float[1,4,2,6]"),
    "add a channel vector": ("Add(x, c)", "float[4,1,1] c = {1,2,3,4}", "float[1,4,2,6]"),
    "subtract from a row": ("Sub(r, x)", "float[6] r = {1,2,3,4,5,6}", "float[1,4,2,6]"),
    "multiply by a scalar": ("Mul(s, x)", "float s = {3.0}", "float[1,4,2,6]"),
    "prelu": ("PRelu(x, c)", "float[4,1,1] c = {1,2,3,4}", "float[1,4,2,6]"),
    "square": ("Mul(x, x)", "", "float[1,4,2,6]"),
    "softmax over channels": ("Softmax<axis=1>(x)", "", "float[1,4,2,6]"),
    "softmax over the last": ("Softmax(x)", "", "float[1,4,2,6]"),
    "log softmax": ("LogSoftmax<axis=-3>(x)", "", "float[1,4,2,6]"),
    "lp normalization": ("LpNormalization<axis=1>(x)", "", "float[1,4,2,6]"),
    "concat": ("Concat<axis=1>(x, x)", "", "float[1,8,2,6]"),
    "concat with a constant": (
        "Concat<axis=2>(x, k)",
        "float[1,4,1,6] k = {1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24}",
        "float[1,4,3,6]",
    ),
    "pad": ("Pad(x, p)", "int64[8] p = {0,1,0,2,0,0,1,0}", "float[1,5,3,8]"),
    "pad some axes": ("Pad(x, p, , a)", "int64[2] p = {1,2}, int64[1] a = {-1}", "float[1,4,2,9]"),
    "reflect": ('Pad<mode="reflect">(x, p)', "int64[8] p = {0,1,1,2,0,0,1,0}", "float[1,5,4,8]"),
    "slice": (
        "Slice(x, b, e, a, s)",
        "int64[2] b = {1,5}, int64[2] e = {9,0}, int64[2] a = {1,-1}, int64[2] s = {2,-2}",
        "float[1,2,2,3]",
    ),
    "slice the first axes": (
        "Slice(x, b, e)",
        "int64[2] b = {0,1}, int64[2] e = {1,3}",
        "float[1,2,2,6]",
    ),
    "resize nearest": (
        'Resize<mode="nearest">(x, , s)',
        "float[4] s = {1,1,2,2}",
        "float[1,4,4,12]",
    ),
    "resize linear": (
        'Resize<mode="linear">(x, , , s)',
        "int64[4] s = {1,4,5,9}",
        "float[1,4,5,9]",
    ),
    "shrink linear": (
        'Resize<mode="linear", antialias=1>(x, , , s)',
        "int64[4] s = {1,4,1,3}",
        "float[1,4,1,3]",
    ),
    "resize some axes": (
        'Resize<mode="nearest", axes=[2,3]>(x, , s)',
        "float[2] s = {2,1}",
        "float[1,4,4,6]",
    ),
    "tile": ("Tile(x, r)", "int64[4] r = {1,2,1,3}", "float[1,8,2,18]"),
    "expand": ("Expand(x, r)", "int64[4] r = {2,4,1,6}", "float[2,4,2,6]"),
    "cumulative sum": ("CumSum(x, a)", "int64 a = {1}", "float[1,4,2,6]"),
    "gather several": ("Gather<axis=1>(x, i)", "int64[3] i = {3,0,1}", "float[1,3,2,6]"),
    "gather elements": (
        "GatherElements<axis=2>(x, i)",
        "int64[1,1,1,6] i = {1,0,1,0,1,0}",
        "float[1,1,1,6]",
    ),
    "arg max": ("ArgMax<axis=1>(x)", "", "int64[1,1,2,6]"),
    "hardmax": ("Hardmax<axis=1>(x)", "", "float[1,4,2,6]"),
    "reduce, keeping axes": ("ReduceMax(x, a)", "int64[1] a = {1}", "float[1,1,2,6]"),
    "reduce everything": ("ReduceSum(x)", "", "float[1,1,1,1]"),
    "where": (
        "Where(m, x, s)",
        "float s = {0.0}, bool[2,6] m = {1,0,1,0,1,0,1,0,1,0,1,1}",
        "float[1,4,2,6]",
    ),
    "identity": ("Identity(x)", "", "float[1,4,2,6]"),
    "quantize": (
        "QuantizeLinear(x, q, z)",
        "float q = {0.1}, uint8 z = {128}",
        "uint8[1,4,2,6]",
    ),
    "quantize per channel": (
        "QuantizeLinear<axis=1>(x, q)",
        "float[4] q = {0.1,0.2,0.3,0.4}",
        "uint8[1,4,2,6]",
    ),
}

#: Nodes over x that take axes away.
REDUCING = {
    "mean over space": ("ReduceMean<keepdims=0>(x, a)", "int64[2] a = {2,3}", "float[1,4]"),
    "sum over channels": ("ReduceSum<keepdims=0>(x, a)", "int64[1] a = {-3}", "float[1,2,6]"),
    "arg max": ("ArgMax<axis=1, keepdims=0>(x)", "", "int64[1,2,6]"),
    "gather one": ("Gather<axis=1>(x, i)", "int64 i = {2}", "float[1,2,6]"),
    "sum of everything": ("ReduceSum<keepdims=0>(x)", "", "float"),
}

#: Nodes over x that change the shape, or that only some layouts suit.
SOMETIMES = {
    "merge space": ("Reshape(x, s)", "int64[3] s = {1,4,12}", "float[1,4,12]"),
    "split channels": ("Reshape(x, s)", "int64[5] s = {1,2,2,2,6}", "float[1,2,2,2,6]"),
    "flatten": ("Reshape(x, s)", "int64[2] s = {1,48}", "float[1,48]"),
    "drop the batch": ("Reshape(x, s)", "int64[3] s = {4,2,6}", "float[4,2,6]"),
    "normalize the last": (
        "LayerNormalization<axis=-1>(x, n)",
        "float[6] n = {1,2,3,4,5,6}",
        "float[1,4,2,6]",
    ),
    "root mean square": (
        "RMSNormalization<axis=2>(x, n)",
        "float[2,6] n = {1,2,3,4,5,6,1,2,3,4,5,6}",
        "float[1,4,2,6]",
    ),
}
