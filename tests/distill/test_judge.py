"""What decides between candidates: held-out frames, paired differences, one standard error."""

import torch

from photonet.distill.judge import (
    TEMPERATURE,
    folds,
    frame_divergence,
    simplest,
    unlikelihood,
)
from photonet.distill.samples import labelled_samples


def draw(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_no_frame_judges_what_it_made():
    for n in (6, 41, 100, 399, 1000):
        judged = torch.cat([held for _, held in folds(n)])
        assert len(judged) == len(judged.unique()) >= min(n, 100)
        for made, held in folds(n):
            assert not set(made.tolist()) & set(held.tolist())
            assert len(made) + len(held) == n


def test_chance_does_not_add_complexity():
    """Candidates that differ by independent noise alone: the simplest stays in most draws."""
    kept = []
    for seed in range(200):
        common = draw(50, seed=seed).exp()
        kept.append(
            simplest(
                {
                    "none": common + 0.1 * draw(50, seed=seed + 500),
                    "other": common + 0.1 * draw(50, seed=seed + 900),
                }
            )
        )
    # the mean of a normal difference is below minus one standard error in 16 % of all draws; 5 sigma: 29 %
    assert kept.count("other") < 0.29 * 200


def test_pairing_finds_a_small_gain_under_a_large_common_spread():
    common = 10 * draw(50).exp()
    assert simplest({"none": common, "better": common - 0.1 + 0.05 * draw(50, seed=1)}) == "better"


def test_of_two_equal_gains_the_simpler_is_kept():
    worse = draw(50).exp() + 1
    better = worse - 0.9
    assert (
        simplest({"none": worse, "simple": better, "complex": better - 0.001 * draw(50, seed=2)}) == "simple"
    )


def test_losses_are_per_frame_and_their_means_those_of_training():
    logits, wanted = draw(7, 3), draw(7, 3, seed=1)
    soft, ours = (wanted / TEMPERATURE).log_softmax(1), (logits / TEMPERATURE).log_softmax(1)
    expected = TEMPERATURE**2 * (soft.exp() * (soft - ours)).sum(1)
    torch.testing.assert_close(frame_divergence(logits, wanted), expected)
    labels = torch.arange(7) % 3
    torch.testing.assert_close(unlikelihood(logits, labels), -logits.log_softmax(1)[torch.arange(7), labels])


def test_dense_outputs_are_averaged_over_pixels():
    logits, wanted = draw(4, 3, 5, 6), draw(4, 3, 5, 6, seed=1)
    assert frame_divergence(logits, wanted).shape == (4,)
    torch.testing.assert_close(
        frame_divergence(logits, wanted)[0],
        frame_divergence(logits[0].flatten(1).T, wanted[0].flatten(1).T).mean(),
    )


def test_frames_without_a_label_do_not_judge_and_every_quarter_has_its_share():
    labels = torch.full((800,), -100)
    labels[torch.arange(300) * 2] = 1
    judges = labelled_samples(labels)
    rounds = folds(800, judges)
    shares = [int(judges[held].sum()) for _, held in rounds]
    assert shares == [75, 75]  # 75 are not yet a hundred
    assert len(unlikelihood(draw(800, 3), labels)) == 300
    every = torch.ones(1000, dtype=torch.bool)
    for plain, asked in zip(folds(1000), folds(1000, every), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(plain, asked, strict=True))


def test_a_frame_with_a_labelled_pixel_judges():
    labels = torch.full((3, 2, 2), -100)
    labels[1, 0, 0] = 2
    logits = draw(3, 4, 2, 2)
    expected = -logits[1].log_softmax(0)[2, 0, 0] / 4
    torch.testing.assert_close(unlikelihood(logits, labels), expected[None])
