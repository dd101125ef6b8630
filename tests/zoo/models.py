"""Real model classes from their packages, tiny and with random weights: factories of audits.

transformers, timm and segmentation_models_pytorch import torchvision. Its compiled part belongs to
one build of torch; beside another (the light CPU build of constraints.txt) importing it fails, as
operators are not there that it describes. They are declared here, and never called: none of these
models uses one.
"""

import contextlib

import torch

_DECLARED = torch.library.Library("torchvision", "FRAGMENT")
for _name in ("nms", "qnms"):
    if not hasattr(torch.ops.torchvision, _name):
        with contextlib.suppress(RuntimeError):
            _DECLARED.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")

NUM_CLASSES = 3
SIDE = 32
FRAMES = 4

_VIT = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
_VIT |= {"intermediate_size": 32, "image_size": SIDE, "patch_size": 8, "num_labels": NUM_CLASSES}


def segformer():
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    return SegformerForSemanticSegmentation(
        SegformerConfig(
            num_encoder_blocks=2,
            depths=[1, 1],
            sr_ratios=[2, 1],
            hidden_sizes=[8, 16],
            patch_sizes=[3, 3],
            strides=[2, 2],
            num_attention_heads=[1, 2],
            mlp_ratios=[2, 2],
            decoder_hidden_size=16,
            num_labels=NUM_CLASSES,
        )
    )


def vit():
    from transformers import ViTConfig, ViTForImageClassification

    return ViTForImageClassification(ViTConfig(**_VIT))


def vit_with_adapter(keeps_head=True):
    from peft import LoraConfig, get_peft_model

    kept = ["classifier"] if keeps_head else None
    config = LoraConfig(r=2, target_modules=["q_proj", "v_proj"], modules_to_save=kept)
    return get_peft_model(vit(), config)


def videomae():
    from transformers import VideoMAEConfig, VideoMAEForVideoClassification

    config = VideoMAEConfig(**_VIT, num_frames=FRAMES, tubelet_size=2)
    return VideoMAEForVideoClassification(config)


def timm_resnet():
    import timm

    return timm.create_model("test_resnet", num_classes=NUM_CLASSES)


def smp(architecture):
    import segmentation_models_pytorch

    return segmentation_models_pytorch.create_model(
        architecture, "tu-test_resnet", encoder_weights=None, classes=NUM_CLASSES
    )


def monai_unet(axes):
    from monai.networks.nets import UNet

    channels = {2: 3, 3: 1}[axes]
    return UNet(axes, channels, NUM_CLASSES, channels=(4, 8), strides=(2,), num_res_units=1)
