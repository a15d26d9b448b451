import pytest
import torch

from ganedit.data.clayheads import FACTOR_INDEX, grammar_words, render, sample_factors
from ganedit.errors import GaneditError
from ganedit.features import clay_clip
from ganedit.features.clay_clip import (
    build_clay_clip,
    grammar_tokens,
    load_clay_clip,
    standard_tokenizer,
)
from ganedit.training.clip import encode_tokens, save_clay_clip


@pytest.fixture(scope="module")
def trained():
    """A network as training has it, with a row for each token of the grammar."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build_clay_clip(len(grammar_tokens())).eval()


@pytest.fixture
def path(trained, tmp_path):
    file = tmp_path / "mine.safetensors"
    save_clay_clip(file, trained, tokens=grammar_tokens(), provenance={})
    return file


def test_every_word_of_the_grammar_has_its_tokens():
    tokens = set(grammar_tokens())
    tokenizer = standard_tokenizer()
    assert {tokenizer.sot_token_id, tokenizer.eot_token_id} < tokens
    assert all(tokens.issuperset(tokenizer.encode(word)) for word in grammar_words())
    assert len(tokens) < 400


def test_a_file_reads_standard_tokens_as_training_read_its_own(path, trained):
    clip = load_clay_clip(path)
    assert clip.name == "mine"
    text = "an old woman with round glasses, smiling"
    place = {token: row for row, token in enumerate(grammar_tokens())}
    standard = clip.tokenizer([text])[0]
    own = torch.tensor([[place[int(token)] for token in standard if token]])
    wanted = torch.nn.functional.normalize(encode_tokens(trained, own))
    # Stored in half precision.
    torch.testing.assert_close(clip.encode_texts([text]), wanted, atol=2e-3, rtol=0)


def test_unpadded_tokens_give_what_open_clip_gives(trained):
    tokens = torch.zeros(2, 77, dtype=torch.int64)
    end = len(grammar_tokens()) - 1
    tokens[0, :4] = torch.tensor([end - 1, 5, 9, end])
    tokens[1, :6] = torch.tensor([end - 1, 7, 3, 2, 8, end])
    wanted = trained.encode_text(tokens)
    for length in (6, 30, 77):
        torch.testing.assert_close(encode_tokens(trained, tokens[:, :length]), wanted)


def test_rows_of_other_tokens_are_zero(path):
    table = load_clay_clip(path).model.get_parameter("text.token_embedding.weight")
    assert table.shape[0] == standard_tokenizer().vocab_size
    rows = table.abs().sum(dim=1) > 0
    assert rows.nonzero().flatten().tolist() == list(grammar_tokens())


def test_other_files_are_one_line(path, tmp_path):
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(path.read_bytes()[:5000])
    foreign = tmp_path / "foreign.safetensors"
    foreign.write_bytes(clay_clip.asset_path("clay-features").read_bytes())
    for file in (damaged, foreign, tmp_path / "absent.safetensors"):
        with pytest.raises(GaneditError, match=r"not a CLIP written by 'ganedit train-clip'"):
            load_clay_clip(file)


def test_values_that_are_not_finite_are_refused(trained, tmp_path):
    with torch.no_grad():
        trained.logit_scale.fill_(float("nan"))
    save_clay_clip(tmp_path / "nan.safetensors", trained, tokens=grammar_tokens(), provenance={})
    with torch.no_grad():
        trained.logit_scale.fill_(2.0)
    with pytest.raises(GaneditError, match="not finite"):
        load_clay_clip(tmp_path / "nan.safetensors")


def test_the_embedded_one_is_small_and_knows_glasses():
    clip = load_clay_clip()
    assert clip.name == "clay-clip"
    assert clay_clip.asset_path("clay-clip").stat().st_size < 6_000_000
    rows = sample_factors(range(2**30, 2**30 + 8))
    rows[:, FACTOR_INDEX["glasses"]] = torch.tensor([0.0, 1.0]).repeat(4)
    texts = clip.encode_texts(["wearing glasses", "without glasses"])
    scores = clip.encode_images(render(rows, resolution=64).image) @ texts.T
    assert (scores[:, 0] > scores[:, 1]).tolist() == [False, True] * 4
