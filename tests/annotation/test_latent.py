import numpy as np
import pytest

from annotation.quality import latent, strengths

# Dawid and Skene (1979), table 1: 45 patients; the first anaesthetist looked three times, four others once.
PATIENTS = """
1111111 3334334 1122122 2223121 2223222 2223322 1222111 3333433 2222223 2322223 4444444 2223343 1111111 2223212 1211111
1112111 1111111 1111111 2222221 2221322 2222222 2222221 2223222 2212222 1111111 1111111 2322222 1111111 1111111 1121121
1111111 3333233 1111111 2222222 2223232 4334343 2212232 2323233 3333432 1111111 1111111 1212111 2322222 1211111 2222222
"""
OBSERVERS = [0, 0, 0, 1, 2, 3, 4]


def anaesthetists() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    votes = [
        (i, observer, int(row[j]) - 1) for i, row in enumerate(PATIENTS.split()) for j, observer in enumerate(OBSERVERS)
    ]
    task, person, label = np.array(votes).T
    return task, person, label


def test_dawid_and_skene_s_own_figures_come_out() -> None:
    found = latent.dawid_skene(*anaesthetists(), 4, smoothing=0)
    assert found.prior == pytest.approx([0.40, 0.42, 0.11, 0.07], abs=6e-3)
    # Table 2, the first observer's rates: true grade 1 and 2.
    assert found.confusion[0, 0] == pytest.approx([0.89, 0.11, 0.0, 0.0], abs=6e-3)
    assert found.confusion[0, 1] == pytest.approx([0.07, 0.88, 0.05, 0.0], abs=6e-3)
    assert found.label[[0, 1, 10]].tolist() == [0, 3, 3]


def simulated(right: list[float], tasks: int = 400, k: int = 3) -> tuple[np.ndarray, ...]:
    random = np.random.default_rng(1)
    truth = random.integers(k, size=tasks)
    votes = [
        (i, person, truth[i] if random.random() < share else random.integers(k))
        for i in range(tasks)
        for person, share in enumerate(right)
        if random.random() < 0.8
    ]
    return (truth, *np.array(votes).T)


@pytest.mark.parametrize("model", [latent.dawid_skene, latent.mace])
def test_people_who_guess_are_told_from_people_who_know(model) -> None:
    truth, task, person, label = simulated([0.9, 0.8, 0.7, 0.0, 0.0])
    found = model(task, person, label, 3)
    assert found.reliability[:3].min() > found.reliability[3:].max() + 0.25
    counts = np.zeros((len(truth), 3))
    np.add.at(counts, (task, label), 1)
    judged = np.unique(task)
    plurality = (counts.argmax(axis=1) == truth)[judged].mean()
    assert (found.label == truth[judged]).mean() > plurality + 0.02
    assert found.posterior.sum(axis=1) == pytest.approx(1.0)


def test_competence_is_the_share_that_is_no_spam() -> None:
    _, task, person, label = simulated([0.9, 0.6, 0.3, 0.8], tasks=4000)
    assert latent.mace(task, person, label, 3).reliability == pytest.approx([0.9, 0.6, 0.3, 0.8], abs=0.05)


def test_somebody_with_one_vote_is_not_called_perfect() -> None:
    task, person, label = np.array([(i, j, i % 2) for i in range(20) for j in range(2)] + [(20, 2, 0), (20, 0, 0)]).T
    found = latent.dawid_skene(task, person, label, 2)
    assert 0.5 < found.reliability[2] < found.reliability[0]


def test_two_sources_strengths_are_the_log_odds_of_their_wins() -> None:
    wins = np.array([[0.0, 3000.0], [1000.0, 0.0]])
    found = strengths.strengths(wins)
    assert found[0] - found[1] == pytest.approx(np.log(3), abs=2e-3)
    assert found.sum() == pytest.approx(0)


def test_strengths_are_those_that_made_the_wins() -> None:
    true = np.array([1.0, 0.3, -0.4, -0.9])
    chance = 1 / (1 + np.exp(true[None, :] - true[:, None]))
    wins = 5000 * chance
    np.fill_diagonal(wins, 0)
    assert strengths.strengths(wins) == pytest.approx(true, abs=5e-3)


def test_a_source_that_never_lost_has_a_finite_strength() -> None:
    found = strengths.strengths(np.array([[[0.0, 4.0], [0.0, 0.0]]]))
    assert np.isfinite(found).all()
    assert found[0, 0] > found[0, 1]
