"""What other programs expect around encoder and decoder, added to our graphs node by node.

The added parts are written in ONNX's own text form: traced from PyTorch they would depend on the sizes of the
example, which is how the official export came to freeze the aspect of its masks.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx
import onnx.parser

from sam_edge.imaging.preprocess import Preprocess

ALL_MASKS = """
all_masks (float[1, 4, side, side] logits, float[1, 4] iou)
    => (float[1, 4] iou_predictions, float[1, 4, %(low)d, %(low)d] low_res_masks)
{
    iou_predictions = Identity (iou)
    low_res_masks = Identity (logits)
}
"""

# The official `return_single_mask`: a prompt of more than 2.5 tokens takes the single mask, another one the
# best of the ambiguous ones. 1000 is far more than an IoU can be.
ONE_MASK = """
one_mask (float[1, 4, side, side] logits, float[1, 4] iou, float[1, num_points] point_labels)
    => (float[1, 1] iou_predictions, float[1, 1, %(low)d, %(low)d] low_res_masks)
{
    one_mask_points = Shape <start = 1> (point_labels)
    one_mask_tokens = Cast <to = 1> (one_mask_points)
    one_mask_several = Constant <value_float = 2.5> ()
    one_mask_surplus = Sub (one_mask_tokens, one_mask_several)
    one_mask_first = Constant <value_floats = [1000.0, 0.0, 0.0, 0.0]> ()
    one_mask_preference = Mul (one_mask_surplus, one_mask_first)
    one_mask_score = Add (iou, one_mask_preference)
    one_mask_best = ArgMax <axis = 1, keepdims = 0> (one_mask_score)
    iou_predictions = Gather <axis = 1> (iou, one_mask_best)
    low_res_masks = Gather <axis = 1> (logits, one_mask_best)
}
"""

# By way of the square input, whose padding is cut off, as `Sam.postprocess_masks` does.
RESIZED = """
resized (float[1, masks, side, side] low_res_masks, float[2] orig_im_size)
    => (float[1, %(count)d, height, width] masks)
{
    resized_input = Constant <value_ints = [%(side)d, %(side)d]> ()
    resized_square = Resize <axes = [2, 3], mode = "linear"> (low_res_masks, , , resized_input)
    resized_longer = ReduceMax <keepdims = 1> (orig_im_size)
    resized_side = Constant <value_float = %(side)d.0> ()
    resized_scale = Div (resized_side, resized_longer)
    resized_exact = Mul (orig_im_size, resized_scale)
    resized_half = Constant <value_float = 0.5> ()
    resized_raised = Add (resized_exact, resized_half)
    resized_floor = Floor (resized_raised)
    resized_content = Cast <to = 7> (resized_floor)
    resized_origin = Constant <value_ints = [0, 0]> ()
    resized_axes = Constant <value_ints = [2, 3]> ()
    resized_cut = Slice (resized_square, resized_origin, resized_content, resized_axes)
    resized_image = Cast <to = 7> (orig_im_size)
    masks = Resize <axes = [2, 3], mode = "linear"> (resized_cut, , , resized_image)
}
"""

# samexporter's `--use-preprocess`: the client scales the image, the graph normalises and pads it.
IMAGE = """
image (float[image_height, image_width, 3] input_image) => (float[1, 3, side, side] image)
{
    image_mean = Constant <value_floats = [%(mean)s]> ()
    image_std = Constant <value_floats = [%(std)s]> ()
    image_centred = Sub (input_image, image_mean)
    image_normal = Div (image_centred, image_std)
    image_planes = Transpose <perm = [2, 0, 1]> (image_normal)
    image_size = Shape (image_planes)
    image_full = Constant <value_ints = [3, %(side)d, %(side)d]> ()
    image_missing = Sub (image_full, image_size)
    image_none = Constant <value_ints = [0, 0, 0]> ()
    image_pads = Concat <axis = 0> (image_none, image_missing)
    image_padded = Pad (image_planes, image_pads)
    image_batch = Constant <value_ints = [0]> ()
    image = Unsqueeze (image_padded, image_batch)
}
"""


def official_decoder(core: onnx.ModelProto, side_px: int, *, single: bool) -> onnx.ModelProto:
    """`OfficialDecoder` as a graph, with the choice of the masks and their resizing behind it.

    Args:
        core: has the outputs `logits` and `iou`; is left as it is.
        side_px: of the square input.
        single: one mask a prompt instead of all four.
    """
    model = onnx.ModelProto()
    model.CopyFrom(core)
    chosen = _parse(ONE_MASK if single else ALL_MASKS, low=side_px // 4)
    resized = _parse(RESIZED, side=side_px, count=1 if single else 4)
    graph = model.graph
    graph.node.extend([*chosen.node, *resized.node])
    graph.input.append(resized.input[1])
    del graph.output[:]
    # In the official order: other clients read outputs by their place.
    graph.output.extend([*resized.output, *chosen.output])
    return model


def image_encoder(encoder: onnx.ModelProto, side_px: int, preprocess: Preprocess) -> onnx.ModelProto:
    """An encoder graph that takes a scaled image (H, W, 3), 0..255 RGB, and gives the embedding only.

    Args:
        encoder: takes `image`, gives `embedding` and more; is changed, as a copy of it may not fit into the
            memory. Its weights may lie in a file of their own, which the new graph then names too.
        side_px: of the square input.
        preprocess: of the encoder's family.
    """
    graph = encoder.graph
    _keep_only(graph, ["embedding"])
    mean, std = (", ".join(f"{value:.6f}" for value in values) for values in (preprocess.mean, preprocess.std))
    image = _parse(IMAGE, side=side_px, mean=mean, std=std)
    output = graph.output[0]
    renamed = onnx.helper.make_node("Identity", [output.name], ["image_embeddings"], "image_embeddings")
    nodes = [*image.node, *graph.node, renamed]
    del graph.node[:], graph.input[:]
    graph.node.extend(nodes)
    graph.input.extend(image.input)
    output.name = "image_embeddings"
    return encoder


def _parse(text: str, **values: object) -> onnx.GraphProto:
    graph = onnx.parser.parse_graph(text % values)
    for node in graph.node:
        node.name = node.output[0]
    return graph


def _keep_only(graph: onnx.GraphProto, outputs: Sequence[str]) -> None:
    """Drop the other outputs, and every node and weight that only they need."""
    needed = set(outputs)
    nodes = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            nodes.append(node)
    weights = [tensor for tensor in graph.initializer if tensor.name in needed]
    kept = [value for value in graph.output if value.name in outputs]
    nodes.reverse()
    del graph.node[:], graph.initializer[:], graph.output[:]
    graph.node.extend(nodes)
    graph.initializer.extend(weights)
    graph.output.extend(kept)
