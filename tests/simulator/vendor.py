"""cuFFT and cuSOLVER without a GPU: C functions of NVIDIA's prototypes that compute with NumPy in a StandInDriver's memory.

    with simulator.installed() as driver, vendor.installed(driver) as libraries:
        numtorch.fft.fft(x.cuda())

Written from NVIDIA's documentation, not from what numtorch passes: matrices are column-major with a leading dimension, pivots count
from 1, what a function overwrites is overwritten (with nan, where the documentation leaves open with what), only the triangle that
is named is read, and working memory must be as large as was asked for. A wrong argument fails the call, and the test.
"""
import contextlib
import ctypes
import math
import traceback

import numpy as np
from numtorch.kernels import _vendor

PROTOTYPES = """
cufftResult cufftCreate(cufftHandle * handle);
cufftResult cufftDestroy(cufftHandle plan);
cufftResult cufftSetAutoAllocation(cufftHandle plan, int autoAllocate);
cufftResult cufftSetStream(cufftHandle plan, cudaStream_t stream);
cufftResult cufftSetWorkArea(cufftHandle plan, void *workArea);
cufftResult cufftMakePlanMany64(cufftHandle plan, int rank, long long int *n, long long int *inembed, long long int istride,
    long long int idist, long long int *onembed, long long int ostride, long long int odist, cufftType type, long long int batch,
    size_t * workSize);
cufftResult cufftExecC2C(cufftHandle plan, cufftComplex *idata, cufftComplex *odata, int direction);
cufftResult cufftExecZ2Z(cufftHandle plan, cufftDoubleComplex *idata, cufftDoubleComplex *odata, int direction);
cufftResult cufftExecR2C(cufftHandle plan, cufftReal *idata, cufftComplex *odata);
cufftResult cufftExecD2Z(cufftHandle plan, cufftDoubleReal *idata, cufftDoubleComplex *odata);
cufftResult cufftExecC2R(cufftHandle plan, cufftComplex *idata, cufftReal *odata);
cufftResult cufftExecZ2D(cufftHandle plan, cufftDoubleComplex *idata, cufftDoubleReal *odata);
cusolverStatus_t cusolverDnCreate(cusolverDnHandle_t *handle);
cusolverStatus_t cusolverDnCreateParams(cusolverDnParams_t *params);
cusolverStatus_t cusolverDnSetStream(cusolverDnHandle_t handle, cudaStream_t streamId);
cusolverStatus_t cusolverDnXgetrf_bufferSize(cusolverDnHandle_t handle, cusolverDnParams_t params, int64_t m, int64_t n,
    cudaDataType dataTypeA, const void *A, int64_t lda, cudaDataType computeType, size_t *workspaceInBytesOnDevice,
    size_t *workspaceInBytesOnHost);
cusolverStatus_t cusolverDnXgetrf(cusolverDnHandle_t handle, cusolverDnParams_t params, int64_t m, int64_t n,
    cudaDataType dataTypeA, void *A, int64_t lda, int64_t *ipiv, cudaDataType computeType, void *bufferOnDevice,
    size_t workspaceInBytesOnDevice, void *bufferOnHost, size_t workspaceInBytesOnHost, int *info);
cusolverStatus_t cusolverDnXgetrs(cusolverDnHandle_t handle, cusolverDnParams_t params, cublasOperation_t trans, int64_t n,
    int64_t nrhs, cudaDataType dataTypeA, const void *A, int64_t lda, const int64_t *ipiv, cudaDataType dataTypeB, void *B,
    int64_t ldb, int *info);
cusolverStatus_t cusolverDnXpotrf_bufferSize(cusolverDnHandle_t handle, cusolverDnParams_t params, cublasFillMode_t uplo, int64_t n,
    cudaDataType dataTypeA, const void *A, int64_t lda, cudaDataType computeType, size_t *workspaceInBytesOnDevice,
    size_t *workspaceInBytesOnHost);
cusolverStatus_t cusolverDnXpotrf(cusolverDnHandle_t handle, cusolverDnParams_t params, cublasFillMode_t uplo, int64_t n,
    cudaDataType dataTypeA, void *A, int64_t lda, cudaDataType computeType, void *bufferOnDevice, size_t workspaceInBytesOnDevice,
    void *bufferOnHost, size_t workspaceInBytesOnHost, int *info);
cusolverStatus_t cusolverDnXgeqrf_bufferSize(cusolverDnHandle_t handle, cusolverDnParams_t params, int64_t m, int64_t n,
    cudaDataType dataTypeA, const void *A, int64_t lda, cudaDataType dataTypeTau, const void *tau, cudaDataType computeType,
    size_t *workspaceInBytesOnDevice, size_t *workspaceInBytesOnHost);
cusolverStatus_t cusolverDnXgeqrf(cusolverDnHandle_t handle, cusolverDnParams_t params, int64_t m, int64_t n,
    cudaDataType dataTypeA, void *A, int64_t lda, cudaDataType dataTypeTau, void *tau, cudaDataType computeType,
    void *bufferOnDevice, size_t workspaceInBytesOnDevice, void *bufferOnHost, size_t workspaceInBytesOnHost, int *info);
cusolverStatus_t cusolverDnXgesvd_bufferSize(cusolverDnHandle_t handle, cusolverDnParams_t params, signed char jobu,
    signed char jobvt, int64_t m, int64_t n, cudaDataType dataTypeA, const void *A, int64_t lda, cudaDataType dataTypeS,
    const void *S, cudaDataType dataTypeU, const void *U, int64_t ldu, cudaDataType dataTypeVT, const void *VT, int64_t ldvt,
    cudaDataType computeType, size_t *workspaceInBytesOnDevice, size_t *workspaceInBytesOnHost);
cusolverStatus_t cusolverDnXgesvd(cusolverDnHandle_t handle, cusolverDnParams_t params, signed char jobu, signed char jobvt,
    int64_t m, int64_t n, cudaDataType dataTypeA, void *A, int64_t lda, cudaDataType dataTypeS, void *S, cudaDataType dataTypeU,
    void *U, int64_t ldu, cudaDataType dataTypeVT, void *VT, int64_t ldvt, cudaDataType computeType, void *bufferOnDevice,
    size_t workspaceInBytesOnDevice, void *bufferOnHost, size_t workspaceInBytesOnHost, int *info);
cusolverStatus_t cusolverDnXsyevd_bufferSize(cusolverDnHandle_t handle, cusolverDnParams_t params, cusolverEigMode_t jobz,
    cublasFillMode_t uplo, int64_t n, cudaDataType dataTypeA, const void *A, int64_t lda, cudaDataType dataTypeW, const void *W,
    cudaDataType computeType, size_t *workspaceInBytesOnDevice, size_t *workspaceInBytesOnHost);
cusolverStatus_t cusolverDnXsyevd(cusolverDnHandle_t handle, cusolverDnParams_t params, cusolverEigMode_t jobz,
    cublasFillMode_t uplo, int64_t n, cudaDataType dataTypeA, void *A, int64_t lda, cudaDataType dataTypeW, void *W,
    cudaDataType computeType, void *bufferOnDevice, size_t workspaceInBytesOnDevice, void *bufferOnHost,
    size_t workspaceInBytesOnHost, int *info);
cusolverStatus_t cusolverDnXgeev_bufferSize(cusolverDnHandle_t handle, cusolverDnParams_t params, cusolverEigMode_t jobvl,
    cusolverEigMode_t jobvr, int64_t n, cudaDataType dataTypeA, const void *A, int64_t lda, cudaDataType dataTypeW, const void *W,
    cudaDataType dataTypeVL, const void *VL, int64_t ldvl, cudaDataType dataTypeVR, const void *VR, int64_t ldvr,
    cudaDataType computeType, size_t *workspaceInBytesOnDevice, size_t *workspaceInBytesOnHost);
cusolverStatus_t cusolverDnXgeev(cusolverDnHandle_t handle, cusolverDnParams_t params, cusolverEigMode_t jobvl,
    cusolverEigMode_t jobvr, int64_t n, cudaDataType dataTypeA, void *A, int64_t lda, cudaDataType dataTypeW, void *W,
    cudaDataType dataTypeVL, void *VL, int64_t ldvl, cudaDataType dataTypeVR, void *VR, int64_t ldvr, cudaDataType computeType,
    void *bufferOnDevice, size_t workspaceInBytesOnDevice, void *bufferOnHost, size_t workspaceInBytesOnHost, int *info);
"""
GQR = """
cusolverStatus_t {0}_bufferSize(cusolverDnHandle_t handle, int m, int n, int k, const {1} *A, int lda, const {1} *tau, int *lwork);
cusolverStatus_t {0}(cusolverDnHandle_t handle, int m, int n, int k, {1} *A, int lda, const {1} *tau, {1} *work, int lwork, int *info);
"""
PROTOTYPES += "".join(GQR.format(f"cusolverDn{letters}gqr", kind) for letters, kind in (
    ("Sor", "float"), ("Dor", "double"), ("Cun", "cuComplex"), ("Zun", "cuDoubleComplex")))

WIDTHS = {**dict.fromkeys(("int", "cufftHandle", "cufftType", "cudaDataType", "cublasOperation_t", "cublasFillMode_t",
                           "cusolverEigMode_t"), ctypes.c_int), "long long int": ctypes.c_longlong, "int64_t": ctypes.c_int64,
          "size_t": ctypes.c_size_t, "signed char": ctypes.c_byte,
          **dict.fromkeys(("cudaStream_t", "cusolverDnHandle_t", "cusolverDnParams_t"), ctypes.c_void_p)}
DATA_TYPES = {0: np.dtype("f4"), 1: np.dtype("f8"), 4: np.dtype("c8"), 5: np.dtype("c16")}
FFT_TYPES = {"C2C": (0x29, "c8", "c8"), "R2C": (0x2a, "f4", "c8"), "C2R": (0x2c, "c8", "f4"), "Z2Z": (0x69, "c16", "c16"),
             "D2Z": (0x6a, "f8", "c16"), "Z2D": (0x6c, "c16", "f8")}


def argument_types(text):
    """name -> the ctypes of the arguments, of C prototypes."""
    found = {}
    for prototype in " ".join(text.split()).split(";")[:-1]:
        name = prototype.partition("(")[0].split()[-1]
        found[name] = []
        for argument in prototype.partition("(")[2].rpartition(")")[0].split(","):
            kind = argument.replace("const ", "").strip()
            found[name].append(ctypes.c_void_p if "*" in kind else WIDTHS[kind.rpartition(" ")[0].strip() or kind])
    return found


class StandIn:
    """A library of the driver's devices: C functions, whose methods here are their namesakes without the prefix."""

    prefix = ""

    def __init__(self, driver):
        self.driver, self.failures, self.called = driver, [], []
        for name, types in argument_types(PROTOTYPES).items():
            if name.startswith(self.prefix):
                setattr(self, name, self._as_c(name, types))

    def _as_c(self, name, types):
        def call(*args):
            self.called.append(name)
            try:
                self._dispatch(name.removeprefix(self.prefix), args)
            except Exception:
                self.failures.append(f"{name}{args}\n{traceback.format_exc()}")
                return 7        # of both libraries a status that is no success
            return 0
        return ctypes.CFUNCTYPE(ctypes.c_int, *types)(call)

    def _do(self, stream, act):
        found = self.driver._stream(stream or 0)
        assert found.device == self.driver.device(), "the stream is not of the current device"
        self.driver._do(found, act)

    def _array(self, address, dtype, shape, strides=None):
        """Elements in device memory, which must reach so far."""
        dtype = np.dtype(dtype)
        if strides is None:
            strides = [dtype.itemsize * math.prod(shape[d + 1:]) for d in range(len(shape))]
        nbytes = dtype.itemsize + sum((n - 1) * s for n, s in zip(shape, strides)) if math.prod(shape) else 0
        assert address is not None and address % dtype.itemsize == 0
        data = self.driver._bytes(address, nbytes, self.driver._owner(address))
        return np.ndarray(shape, dtype, data, 0, strides)

    def _matrix(self, address, dtype, m, n, lda):
        """An (m, n) matrix, column-major with leading dimension ``lda``."""
        assert lda >= max(1, m)
        dtype = np.dtype(dtype)
        return self._array(address, dtype, (m, n), (dtype.itemsize, lda * dtype.itemsize))

    def _use_up(self, address, nbytes):
        """Working memory, of which nothing is known afterwards."""
        if nbytes:
            self._array(address, np.uint8, (nbytes,))[:] = 0xFF


def put(address, kind, value):
    """Writes a number to the host's memory."""
    kind.from_address(address).value = value


class CuFFT(StandIn):
    """cuFFT: plans by number."""

    prefix = "cufft"

    def __init__(self, driver):
        super().__init__(driver)
        self.plans, self.count = {}, 0

    def _dispatch(self, name, args):
        if name.startswith("Exec"):
            self._execute(name[4:], *args)
        else:
            getattr(self, name)(*args)

    def Create(self, handle):
        self.count += 1
        self.plans[self.count] = {"device": self.driver.device(), "own": True, "stream": 0}
        put(handle, ctypes.c_int, self.count)

    def Destroy(self, plan):
        del self.plans[plan]

    def SetAutoAllocation(self, plan, own):
        assert "sizes" not in self.plans[plan], "after the plan has been made"
        self.plans[plan]["own"] = bool(own)

    def SetStream(self, plan, stream):
        self.plans[plan]["stream"] = stream

    def SetWorkArea(self, plan, work):
        self.plans[plan]["work"] = work

    def MakePlanMany64(self, plan, rank, sizes, inembed, istride, idist, onembed, ostride, odist, kind, batch, nbytes):
        plan = self.plans[plan]
        assert "sizes" not in plan and 1 <= rank <= 3 and batch >= 1 and plan["device"] == self.driver.device()
        assert inembed is None and onembed is None, "here only the basic layout: then strides and distances are ignored"
        assert kind in [number for number, *_ in FFT_TYPES.values()]
        plan["sizes"] = tuple((ctypes.c_longlong * rank).from_address(sizes))
        assert min(plan["sizes"]) >= 1
        plan.update(kind=kind, batch=batch, nbytes=16 * batch * math.prod(plan["sizes"]))
        put(nbytes, ctypes.c_size_t, plan["nbytes"])

    def _execute(self, name, plan, source, target, direction=None):
        number, have, want = FFT_TYPES[name]
        plan = dict(self.plans[plan])
        assert plan["kind"] == number and plan["device"] == self.driver.device()
        assert direction in ((-1, 1) if have == want else (None,))
        assert source % 16 == 0 or source % 8 == 0 and name in ("C2C", "R2C", "C2R"), "real numbers are aligned as complex ones are"
        sizes, axes = plan["sizes"], tuple(range(1, 1 + len(plan["sizes"])))
        half = (*sizes[:-1], sizes[-1] // 2 + 1)

        def act():
            x = self._array(source, have, (plan["batch"], *(half if name in ("C2R", "Z2D") else sizes)))
            y = self._array(target, want, (plan["batch"], *(half if name in ("R2C", "D2Z") else sizes)))
            if name in ("R2C", "D2Z"):
                found = np.fft.rfftn(x, axes=axes)
            elif name in ("C2R", "Z2D"):
                found = np.fft.irfftn(x, sizes, axes, norm="forward")
                known = np.fft.rfftn(found, axes=axes, norm="forward")
                assert np.allclose(known, x, atol=1e-4 * max(1, abs(x).max()), equal_nan=True), "the input has no symmetry"
                x[...] = np.nan
            else:
                found = np.fft.fftn(x, axes=axes) if direction == -1 else np.fft.ifftn(x, axes=axes, norm="forward")
            y[...] = found
            assert not plan["own"], "the plan has taken working memory from the driver"
            self._use_up(plan["work"], plan["nbytes"])
        self._do(plan["stream"], act)


class CuSolver(StandIn):
    """cuSOLVER's dense functions."""

    prefix = "cusolverDn"

    def __init__(self, driver):
        super().__init__(driver)
        self.handles = {}       # handle -> [device, stream]

    def _dispatch(self, name, args):
        letters, _, asked = name.partition("_")
        if name in ("Create", "CreateParams", "SetStream"):
            getattr(self, name)(*args)
        elif letters.endswith("gqr"):
            self._gqr(letters, bool(asked), *args)
        elif letters == "Xgetrs":
            self._run(args[0], lambda: self.getrs(*args[2:]))
        elif asked:
            assert args[1] == 0x9A7A
            put(args[-2], ctypes.c_size_t, self._work(args[2:-2])[0])
            put(args[-1], ctypes.c_size_t, self._work(args[2:-2])[1])
        else:
            self._with_work(getattr(self, letters[1:]), args)

    def _work(self, args):
        """How many bytes on the device, and on the host, a function needs: some that depend on sizes and types."""
        sizes = [a for a in args if isinstance(a, int) and a < 1 << 20]
        return 256 + 64 * max(sizes), 24

    def _with_work(self, function, args):
        *own, work, on_device, spare, on_host, info = args[2:]
        assert args[1] == 0x9A7A, "the parameters"
        least = self._work([a for a in own if a not in (work, info)])
        assert on_device >= least[0] and on_host >= least[1], "too little working memory"
        ctypes.memset(spare, 0xFF, on_host)

        def act():
            self._array(info, np.int32, (1,))[0] = function(*own)
            self._use_up(work, on_device)
        self._run(args[0], act)

    def _run(self, handle, act):
        device, stream = self.handles[handle]
        assert device == self.driver.device(), "a handle of another device"
        self._do(stream, act)

    def Create(self, handle):
        number = 0xC0DE_0000_0000 + len(self.handles)
        self.handles[number] = [self.driver.device(), 0]
        put(handle, ctypes.c_size_t, number)

    def CreateParams(self, params):
        put(params, ctypes.c_size_t, 0x9A7A)

    def SetStream(self, handle, stream):
        self.handles[handle][1] = stream

    # ---- LU ----

    def getrf(self, m, n, kind, a, lda, pivots, computed):
        """P A = L U: row i was exchanged with row pivots[i], counted from 1. What comes after a zero pivot can be nan."""
        assert kind == computed
        A, p, info = self._matrix(a, DATA_TYPES[kind], m, n, lda), self._array(pivots, np.int64, (min(m, n),)), 0
        for k in range(min(m, n)):
            best = k + int(np.argmax(np.abs(A[k:, k])))
            p[k] = best + 1
            if A[best, k] == 0:
                info = info or k + 1
                A[k + 1:, k + 1:] = np.nan
                continue
            A[[k, best]] = A[[best, k]]
            A[k + 1:, k] /= A[k, k]
            A[k + 1:, k + 1:] -= np.outer(A[k + 1:, k], A[k, k + 1:])
        return info

    def getrs(self, how, n, columns, kind, a, lda, pivots, kind_b, b, ldb, info):
        """op(A) X = B from what getrf left; op: 0 A, 1 its transpose, 2 the adjoint."""
        assert kind == kind_b
        A, B = self._matrix(a, DATA_TYPES[kind], n, n, lda), self._matrix(b, DATA_TYPES[kind], n, columns, ldb)
        self._array(info, np.int32, (1,))[0] = 0
        whole = (np.tril(A, -1) + np.eye(n)) @ np.triu(A)
        for k in reversed(range(n)):
            other = self._array(pivots, np.int64, (n,))[k] - 1
            whole[[k, other]] = whole[[other, k]]
        whole = (whole, whole.T, whole.conj().T)[how]
        try:
            B[...] = np.linalg.solve(whole, B)
        except np.linalg.LinAlgError:
            B[...] = np.inf

    # ---- Cholesky ----

    def potrf(self, uplo, n, kind, a, lda, computed):
        """A = L L^H (uplo 0, lower) or U^H U (1, upper), in the triangle that is read; the other one stays as it is."""
        assert kind == computed
        A = self._matrix(a, DATA_TYPES[kind], n, n, lda)
        low = np.tril(A) if uplo == 0 else np.triu(A).conj().T
        try:
            L = np.linalg.cholesky(low)
        except np.linalg.LinAlgError:
            return next(k for k in range(1, n + 1) if np.linalg.det(low[:k, :k] + np.tril(low[:k, :k], -1).conj().T).real <= 0)
        own = np.tril(np.ones((n, n), bool))
        if uplo == 0:
            A[own] = L[own]
        else:
            A[own.T] = L.conj().T[own.T]
        return 0

    # ---- QR ----

    def geqrf(self, m, n, kind, a, lda, kind_tau, tau, computed):
        """A = Q R: R in the upper triangle, below it the vectors of the reflections."""
        assert kind == kind_tau == computed
        A = self._matrix(a, DATA_TYPES[kind], m, n, lda)
        h, t = np.linalg.qr(A, "raw")
        A[...] = h.T
        self._array(tau, DATA_TYPES[kind], (min(m, n),))[...] = t
        return 0

    def _gqr(self, letters, asked, handle, m, n, k, a, lda, tau, *rest):
        """orgqr and ungqr: the first n columns of the product of k reflections 1 - tau v v^H; m >= n >= k."""
        dtype = {"Sor": np.float32, "Dor": np.float64, "Cun": np.complex64, "Zun": np.complex128}[letters[:3]]
        assert m >= n >= k > 0 and lda >= m
        if asked:
            put(rest[0], ctypes.c_int, 5 * n)
            return
        work, size, info = rest
        assert size >= 5 * n

        def act():
            A, t = self._matrix(a, dtype, m, n, lda), self._array(tau, dtype, (k,))
            Q = np.eye(m, n, dtype=dtype)
            for i in reversed(range(k)):
                v = np.concatenate([np.zeros(i), [1], A[i + 1:, i]]).astype(dtype)
                Q = Q - t[i] * np.outer(v, v.conj() @ Q)
            A[...] = Q
            self._array(info, np.int32, (1,))[0] = 0
            self._use_up(work, size * np.dtype(dtype).itemsize)
        self._run(handle, act)

    # ---- singular values and eigenvalues ----

    def gesvd(self, jobu, jobvt, m, n, kind, a, lda, kind_s, s, kind_u, u, ldu, kind_vt, vt, ldvt, computed):
        """A = U S V^H for m >= n; V^H is returned, and A is lost. Jobs: A all columns of U (rows of V^H), S the first n, N none."""
        dtype = DATA_TYPES[kind]
        assert m >= n and kind == kind_u == kind_vt == computed and DATA_TYPES[kind_s] == np.empty(0, dtype).real.dtype
        assert jobu == jobvt and chr(jobu) in "ASN"
        A = self._matrix(a, dtype, m, n, lda)
        U, S, Vh = np.linalg.svd(A, full_matrices=chr(jobu) == "A")
        self._array(s, DATA_TYPES[kind_s], (n,))[...] = S
        A[...] = np.nan
        if chr(jobu) != "N":
            self._matrix(u, dtype, *U.shape, ldu)[...] = U
            self._matrix(vt, dtype, n, n, ldvt)[...] = Vh
        return 3 if not np.isfinite(S).all() else 0

    def syevd(self, jobz, uplo, n, kind, a, lda, kind_w, w, computed):
        """A = V diag(W) V^H, W ascending, of the triangle ``uplo`` (0 lower, 1 upper); V in the place of A (jobz 1), or A is lost."""
        assert kind == computed and DATA_TYPES[kind_w] == np.empty(0, DATA_TYPES[kind]).real.dtype
        A = self._matrix(a, DATA_TYPES[kind], n, n, lda)
        W, V = np.linalg.eigh(A, "UL"[uplo == 0])
        self._array(w, DATA_TYPES[kind_w], (n,))[...] = W
        A[...] = V if jobz else np.nan
        return 0 if np.isfinite(W).all() else 2

    def geev(self, jobvl, jobvr, n, kind, a, lda, kind_w, w, kind_vl, vl, ldvl, kind_vr, vr, ldvr, computed):
        """A v = w v. Of a real A, w is complex here, and the vectors of a pair w, conj(w) lie as their real and imaginary parts."""
        dtype = DATA_TYPES[kind]
        assert jobvl == 0 and kind == kind_vl == kind_vr == computed and ldvl >= 1 and ldvr >= n
        assert DATA_TYPES[kind_w] == np.result_type(dtype, np.complex64), "the other way, real and imaginary parts, is not simulated"
        A = self._matrix(a, dtype, n, n, lda)
        W, V = np.linalg.eig(A)
        A[...] = np.nan
        self._array(w, DATA_TYPES[kind_w], (n,))[...] = W
        if jobvr:
            if dtype.kind == "f":
                V = np.where(W.imag < 0, -V.imag, V.real)
            self._matrix(vr, dtype, n, n, ldvr)[...] = V
        return 0


@contextlib.contextmanager
def installed(driver, without=()):
    """Both libraries, or one, on the driver's devices; raises what went wrong in them."""
    libraries = {name: kind(driver) for name, kind in (("cufft", CuFFT), ("cusolver", CuSolver)) if name not in without}
    _vendor.use(libraries)
    try:
        yield libraries
    finally:
        _vendor.use({})
    failures = [text for library in libraries.values() for text in library.failures]
    assert not failures, "\n".join(failures)
