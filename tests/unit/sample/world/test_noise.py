import numpy as np

from cloudbuster.sample.world.noise import fractal_noise, hash_unit, spline_noise


def axis(first, count, step=10.0):
    return first + np.arange(count) * step


def test_spline_noise_of_a_window_equals_the_window_of_the_whole():
    x, y = axis(499_985.0, 200), axis(5_090_005.0, 160)
    whole = spline_noise(x, y, cell_m=(333.0, 70.0), key=5)
    part = spline_noise(x[37:90], y[11:12], cell_m=(333.0, 70.0), key=5)
    np.testing.assert_array_equal(part, whole[11:12, 37:90])


def test_fractal_noise_is_about_standard_normal():
    noise = fractal_noise(
        axis(0, 400, 50), axis(0, 400, 50), cell_m=(400, 400), octaves=4, gain=0.5, key=1
    )
    assert abs(float(noise.mean())) < 0.15
    assert 0.85 < float(noise.std()) < 1.15


def test_hash_unit_is_uniform_and_its_keys_are_independent():
    i, j = np.arange(-150, 150)[np.newaxis, :], np.arange(-150, 150)[:, np.newaxis]
    first, second = hash_unit(i, j, 1), hash_unit(i, j, 2)
    assert first.min() >= 0
    assert first.max() < 1
    assert abs(float(first.mean()) - 0.5) < 0.01
    assert abs(float(np.corrcoef(first.ravel(), second.ravel())[0, 1])) < 0.02
