import pytest
import torch
from conformance_cases import Case

from ganedit.features import Clip, clip_models, load_clip


@pytest.fixture(scope="module")
def case() -> Case:
    return Case("open_clip_vitb32")


@pytest.fixture(scope="module")
def clip(case: Case, tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """The whole ViT-B-32, its weights read from a file."""
    path = tmp_path_factory.mktemp("clip") / "model.pt"
    torch.save(case.state_dict("model"), path)
    found = load_clip(case.settings["model_name"], weights=path)
    path.unlink()
    return found


@pytest.mark.slow
def test_pictures_and_texts_equal_open_clips(case: Case, clip: Clip, check) -> None:
    images = case.inputs["image_uint8"].float() / 127.5 - 1
    prompts = case.settings["prompts"]
    assert torch.equal(clip.tokenizer(prompts), case.inputs["tokens"])
    check(case, "logit_scale_exp", torch.tensor([clip.logit_scale]))
    with torch.no_grad():
        check(case, "image_features", clip.model.encode_image(clip.prepared(images)))
        texts = clip.model.encode_text(clip.tokenizer(prompts))
        check(case, "text_features", texts)
        cosines = clip.encode_images(images) @ torch.nn.functional.normalize(texts).T
        check(case, "logits_per_image", clip.logit_scale * cosines)
    torch.testing.assert_close(
        clip.encode_texts(prompts[:2]), torch.nn.functional.normalize(texts[:2])
    )


def test_pictures_are_prepared_as_open_clip_does_with_files(case: Case, check) -> None:
    photo = case.inputs["photo_uint8"].float() / 127.5 - 1
    settings = clip_models._scaling({"vision_cfg": {"image_size": 224}}, {})
    model = torch.nn.Module()
    tokenizer = type("Tokenizer", (), {"context_length": 77})()

    def prepared(preprocess):
        return Clip(model, tokenizer, name="t", scaling=settings, preprocess=preprocess).prepared(
            photo
        )

    check(case, "preprocessed", prepared("open_clip"))
    # The way that has gradients differs by the rounding to 8 bits and back, once an axis.
    assert (prepared("model") - prepared("open_clip")).abs().max() < 2 / 255 / 0.26
