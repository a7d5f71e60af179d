"""CEN experts in one program: patches are cut, normalised and go through all layers without a stop in memory."""

import triton
import triton.language as tl

from clnf_torch.models.patch_experts import patches

TINY: tl.constexpr = tl.constexpr(patches.TINY)


@triton.jit(do_not_specialize=["faces", "landmarks", "size", "first", "count"])
def respond(
    # Gray levels of the areas (T, F, N, A, A)
    areas,
    faces,
    landmarks,
    size,
    by_tile,
    by_face,
    by_landmark,
    by_row,
    by_column,
    # Landmarks that the networks serve (U,), and in each tile the network of each, counted from `first`, and whether it
    # is shown the area mirrored (T, U)
    served,
    uses,
    experts,
    mirrored,
    first,
    count,
    # Layers: weights (E, in, out) and biases (E, out); of a network of fewer, those that are left out are any
    weight1,
    bias1,
    weight2,
    bias2,
    weight3,
    bias3,
    weight4,
    bias4,
    # What becomes of the answers (T, N, F, cells)
    answers,
    # Of the patches and the cells
    SUPPORT: tl.constexpr,
    CHECKERBOARD: tl.constexpr,
    WINDOW: tl.constexpr,
    CELLS: tl.constexpr,
    # Of the networks: how many layers, their outputs, and their activations
    DEPTH: tl.constexpr,
    WIDTH1: tl.constexpr,
    WIDTH2: tl.constexpr,
    WIDTH3: tl.constexpr,
    KIND1: tl.constexpr,
    KIND2: tl.constexpr,
    KIND3: tl.constexpr,
    KIND4: tl.constexpr,
    # "ieee", "tf32" or "bf16"
    PRECISION: tl.constexpr,
    # Cells, pixels of a patch and outputs of a layer at once, and of the whole second layer: powers of two
    M: tl.constexpr,
    PIXELS: tl.constexpr,
    SOME: tl.constexpr,
    WHOLE: tl.constexpr,
):
    """Answers of one landmark's expert in one tile to some of its faces' cells."""
    pair = tl.program_id(0).to(tl.int64)
    tile = pair // uses
    landmark = tl.load(served + pair % uses).to(tl.int64)
    expert = tl.load(experts + pair).to(tl.int64) - first
    if (expert >= 0) & (expert < count):
        row = tl.program_id(1) * M + tl.arange(0, M)
        inside = row < faces * CELLS
        face = (row // CELLS).to(tl.int64)
        x, y = place_of(row % CELLS, WINDOW, CHECKERBOARD)
        own = areas + tile * by_tile + landmark * by_landmark + face * by_face
        flip = tl.load(mirrored + pair) != 0
        patch = normalised_patches(own, x, y, size, flip, by_row, by_column, inside, SUPPORT, PIXELS)
        pixels: tl.constexpr = SUPPORT * SUPPORT
        first_layer = weight1 + expert * pixels * WIDTH1, bias1 + expert * WIDTH1
        if DEPTH == 2:
            last = weight2 + expert * WIDTH1
            sums = dot_last(patch, first_layer, last, pixels, WIDTH1, KIND1, PRECISION, M, PIXELS, SOME)
            answer = activate(sums + tl.load(bias2 + expert).to(tl.float32), KIND2)
        else:
            second = weight2 + expert * WIDTH1 * WIDTH2, bias2 + expert * WIDTH2
            hidden = two_layers(
                patch, first_layer, second, pixels, WIDTH1, WIDTH2, KIND1, KIND2, PRECISION, M, PIXELS, SOME, WHOLE
            )
            if DEPTH == 3:
                w = tl.arange(0, WHOLE)
                last = tl.load(weight3 + expert * WIDTH2 + w, mask=w < WIDTH2, other=0.0).to(tl.float32)
                sums = tl.sum(hidden * last[None, :], axis=1)
                answer = activate(sums + tl.load(bias3 + expert).to(tl.float32), KIND3)
            else:
                third = weight3 + expert * WIDTH2 * WIDTH3, bias3 + expert * WIDTH3
                last = weight4 + expert * WIDTH3
                sums = dot_last(hidden, third, last, WIDTH2, WIDTH3, KIND3, PRECISION, M, WHOLE, SOME)
                answer = activate(sums + tl.load(bias4 + expert).to(tl.float32), KIND4)
        tl.store(answers + (tile * landmarks + landmark) * faces * CELLS + row, answer, mask=inside)


@triton.jit
def place_of(cell, WINDOW: tl.constexpr, CHECKERBOARD: tl.constexpr):
    """Column and row of cells in the order of `cut_patches`."""
    if CHECKERBOARD:
        few: tl.constexpr = WINDOW // 2
        many: tl.constexpr = WINDOW - WINDOW // 2
        later = cell >= many * few
        rest = cell - many * few
        y = tl.where(later, 1 + 2 * (rest // many), 2 * (cell // few))
        x = tl.where(later, 2 * (rest % many), 1 + 2 * (cell % few))
        return x, y
    else:
        return cell % WINDOW, cell // WINDOW


@triton.jit
def normalised_patches(area, x, y, size, flip, by_row, by_column, inside, SUPPORT: tl.constexpr, PIXELS: tl.constexpr):
    """Patches (M, PIXELS) at cells of areas, minus their mean, divided by their length; 0 beyond their pixels."""
    pixels: tl.constexpr = SUPPORT * SUPPORT
    p = tl.arange(0, PIXELS)
    within = p < pixels
    column = x[:, None] + (p % SUPPORT)[None, :]
    column = tl.where(flip, size - 1 - column, column)
    row = y[:, None] + (p // SUPPORT)[None, :]
    place = area[:, None] + row * by_row + column * by_column
    shown = inside[:, None] & within[None, :]
    patch = tl.load(place, mask=shown, other=0.0)
    # Without its first pixel a constant patch is 0, and stays so
    start = tl.sum(tl.where(p[None, :] == 0, patch, 0.0), axis=1)
    patch = tl.where(shown, patch - start[:, None], 0.0)
    mean = tl.sum(patch, axis=1) / pixels
    patch = tl.where(shown, patch - mean[:, None], 0.0)
    length = tl.sqrt_rn(tl.sum(patch * patch, axis=1) + pixels * TINY)
    return patch / length[:, None]


@triton.jit
def two_layers(
    inputs, layer1, layer2, count, WIDTH1: tl.constexpr, WIDTH2: tl.constexpr, KIND1: tl.constexpr,
    KIND2: tl.constexpr, PRECISION: tl.constexpr, M: tl.constexpr, IN: tl.constexpr, SOME: tl.constexpr,
    WHOLE: tl.constexpr,
):  # fmt: skip
    """Outputs (M, WHOLE) of the second of two layers; of the first only `SOME` are there at once."""
    w = tl.arange(0, WHOLE)
    sums = tl.zeros((M, WHOLE), tl.float32)
    for begin in range(0, WIDTH1, SOME):
        hidden = some_outputs(inputs, layer1, count, begin, WIDTH1, KIND1, PRECISION, IN, SOME)
        h = begin + tl.arange(0, SOME)
        seen = (h < WIDTH1)[:, None] & (w < WIDTH2)[None, :]
        weight = tl.load(layer2[0] + h[:, None] * WIDTH2 + w[None, :], mask=seen, other=0.0)
        sums += products(hidden, weight, PRECISION)
    bias = tl.load(layer2[1] + w, mask=w < WIDTH2, other=0.0).to(tl.float32)
    return activate(sums + bias[None, :], KIND2)


@triton.jit
def dot_last(
    inputs, layer, last, count, WIDTH: tl.constexpr, KIND: tl.constexpr, PRECISION: tl.constexpr, M: tl.constexpr,
    IN: tl.constexpr, SOME: tl.constexpr,
):  # fmt: skip
    """Products (M,) of a layer's outputs, of which `SOME` are there at once, with the weights of the one output."""
    sums = tl.zeros((M,), tl.float32)
    for begin in range(0, WIDTH, SOME):
        hidden = some_outputs(inputs, layer, count, begin, WIDTH, KIND, PRECISION, IN, SOME)
        h = begin + tl.arange(0, SOME)
        weight = tl.load(last + h, mask=h < WIDTH, other=0.0).to(tl.float32)
        sums += tl.sum(hidden * weight[None, :], axis=1)
    return sums


@triton.jit
def some_outputs(
    inputs, layer, count, begin, WIDTH: tl.constexpr, KIND: tl.constexpr, PRECISION: tl.constexpr, IN: tl.constexpr,
    SOME: tl.constexpr,
):  # fmt: skip
    """Outputs (M, SOME) of a layer from `begin` on; what lies beyond its width counts for nothing in the next."""
    i, h = tl.arange(0, IN), begin + tl.arange(0, SOME)
    seen = (i < count)[:, None] & (h < WIDTH)[None, :]
    weight = tl.load(layer[0] + i[:, None] * WIDTH + h[None, :], mask=seen, other=0.0)
    bias = tl.load(layer[1] + h, mask=h < WIDTH, other=0.0).to(tl.float32)
    return activate(products(inputs, weight, PRECISION) + bias[None, :], KIND)


@triton.jit
def products(left, right, PRECISION: tl.constexpr):
    """A product of matrices whose factors are rounded as `PRECISION` says, summed in float32."""
    if PRECISION == "bf16":
        return tl.dot(left.to(tl.bfloat16), right.to(tl.bfloat16))
    else:
        return tl.dot(left, right.to(tl.float32), input_precision=PRECISION)


@triton.jit
def activate(x, KIND: tl.constexpr):
    """An activation function by its name; as in `mlp_stack`, all others leave numbers as they are."""
    if KIND == "relu":
        # A NaN stays
        return tl.where(x < 0, 0.0, x)
    elif KIND == "sigmoid":
        return 1 / (1 + tl.exp(-x))
    else:
        return x
