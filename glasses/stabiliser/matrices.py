"""3x3 matrices and what homographies do to points, for use within kernels. Nothing here allocates.

Matrices are float64 arrays of shape (3, 3); results go into the last argument, which may not be one of the others.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from glasses.stabiliser.compiled import internal

Matrix = npt.NDArray[np.float64]


@internal
def multiply(a: Matrix, b: Matrix, result: Matrix) -> None:
    """result = a b."""
    for i in range(3):
        for j in range(3):
            result[i, j] = a[i, 0] * b[0, j] + a[i, 1] * b[1, j] + a[i, 2] * b[2, j]


@internal
def invert(a: Matrix, result: Matrix) -> bool:
    """result = a⁻¹ by cofactors; False, and no result, when there is none."""
    c0 = a[1, 1] * a[2, 2] - a[1, 2] * a[2, 1]
    c1 = a[1, 2] * a[2, 0] - a[1, 0] * a[2, 2]
    c2 = a[1, 0] * a[2, 1] - a[1, 1] * a[2, 0]
    determinant = a[0, 0] * c0 + a[0, 1] * c1 + a[0, 2] * c2
    if not (abs(determinant) > 1e-18):
        return False
    scale = 1.0 / determinant
    result[0, 0] = c0 * scale
    result[1, 0] = c1 * scale
    result[2, 0] = c2 * scale
    result[0, 1] = (a[0, 2] * a[2, 1] - a[0, 1] * a[2, 2]) * scale
    result[1, 1] = (a[0, 0] * a[2, 2] - a[0, 2] * a[2, 0]) * scale
    result[2, 1] = (a[0, 1] * a[2, 0] - a[0, 0] * a[2, 1]) * scale
    result[0, 2] = (a[0, 1] * a[1, 2] - a[0, 2] * a[1, 1]) * scale
    result[1, 2] = (a[0, 2] * a[1, 0] - a[0, 0] * a[1, 2]) * scale
    result[2, 2] = (a[0, 0] * a[1, 1] - a[0, 1] * a[1, 0]) * scale
    return True


@internal
def copy(a: Matrix, result: Matrix) -> None:
    """result = a."""
    for i in range(3):
        for j in range(3):
            result[i, j] = a[i, j]


@internal
def normalise(a: Matrix) -> bool:
    """Scale a homography to a lower right element of 1, in place; False when it is not finite or sends the origin
    to infinity."""
    corner = a[2, 2]
    if not (abs(corner) > 1e-9):
        return False
    scale = 1.0 / corner
    total = 0.0
    for i in range(3):
        for j in range(3):
            a[i, j] *= scale
            total += abs(a[i, j])
    return bool(total < 1e12)


@internal
def rotation_of(wx: float, wy: float, wz: float, result: Matrix) -> None:
    """result = exp([w]x), by Rodrigues' formula."""
    angle = np.sqrt(wx * wx + wy * wy + wz * wz)
    if angle < 1e-9:
        s, c = 1.0, 0.5
    else:
        s, c = np.sin(angle) / angle, (1.0 - np.cos(angle)) / (angle * angle)
    result[0, 0] = 1.0 - c * (wy * wy + wz * wz)
    result[0, 1] = c * wx * wy - s * wz
    result[0, 2] = c * wx * wz + s * wy
    result[1, 0] = c * wx * wy + s * wz
    result[1, 1] = 1.0 - c * (wx * wx + wz * wz)
    result[1, 2] = c * wy * wz - s * wx
    result[2, 0] = c * wx * wz - s * wy
    result[2, 1] = c * wy * wz + s * wx
    result[2, 2] = 1.0 - c * (wx * wx + wy * wy)


@internal
def rotation_homography(rotation: Matrix, focal: float, cx: float, cy: float, result: Matrix) -> None:
    """result = K R K⁻¹, for square pixels, a focal length in pixels and a principal point."""
    for j in range(3):
        top = focal * rotation[0, j] + cx * rotation[2, j]
        middle = focal * rotation[1, j] + cy * rotation[2, j]
        result[0, j], result[1, j], result[2, j] = top, middle, rotation[2, j]
    for i in range(3):
        a, b = result[i, 0] / focal, result[i, 1] / focal
        result[i, 2] = result[i, 2] - a * cx - b * cy
        result[i, 0], result[i, 1] = a, b


@internal
def solve(a: Matrix, b: npt.NDArray[np.float64], n: int, factor: Matrix, x: npt.NDArray[np.float64]) -> None:
    """Solve the first n rows of a x = b by Cholesky; a is symmetric and positive definite (pivots are kept above 0)."""
    for i in range(n):
        for j in range(i + 1):
            total = a[i, j]
            for k in range(j):
                total -= factor[i, k] * factor[j, k]
            if i == j:
                factor[i, i] = np.sqrt(max(total, 1e-9))
            else:
                factor[i, j] = total / factor[j, j]
    for i in range(n):
        total = b[i]
        for k in range(i):
            total -= factor[i, k] * x[k]
        x[i] = total / factor[i, i]
    for i in range(n - 1, -1, -1):
        total = x[i]
        for k in range(i + 1, n):
            total -= factor[k, i] * x[k]
        x[i] = total / factor[i, i]
