"""Which families a fit may see does not change, and no family is on both sides."""

import pytest

pytest.importorskip("benchmarks.fitting", reason="run from the checkout: python -m pytest")

from benchmarks.fitting.split import family, held_out


def test_a_family_is_the_name_before_an_underscore_or_a_digit():
    assert family("resnet50d") == "resnet"
    assert family("vit_base_patch16_224") == "vit"
    assert family("tf_efficientnet_b0") == "tf"
    assert family("nasnetalarge") == "nasnetalarge"


def test_the_split_stays_what_it_was_before_the_first_fit():
    # printf resnet | sha256sum: d7ab...58ef, as a number two more than a multiple of three; tf: 8541...a567, a multiple.
    seen = (
        "resnet50",
        "vit_base_patch16_224",
        "convnext_tiny",
        "swin_tiny_patch4_window7_224",
        "mobilenetv3_small_050",
    )
    unseen = (
        "tf_efficientnet_b0",
        "efficientnet_b0",
        "regnetx_032",
        "densenet121",
        "cait_s24_224",
        "hrnet_w18",
    )
    assert not any(map(held_out, seen))
    assert all(map(held_out, unseen))
