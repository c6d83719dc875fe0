internal import BootCommon
private import CZstd
internal import LinuxSys

/// libzstd's streaming decoder in memory of its own, which goes back when it is done, without a window: the output is one.
@safe struct ZstdStream: ~Copyable {
    private let workspace: MemoryMapping
    /// Lies in `workspace`.
    private let context: OpaquePointer
    private let output: Decompressor.Output

    /// The largest that the format knows, 2 GiB; it costs nothing here.
    private static let windowLogLimit: Int32 = 31

    init(output: Decompressor.Output) throws(DecompressionError) {
        let workspace: MemoryMapping
        do throws(Errno) {
            // The decoder and one block of input.
            workspace = try .anonymous(size: Int(clamping: ZSTD_estimateDCtxSize() + ZSTD_DStreamInSize()))
        } catch {
            throw .memory(error)
        }
        // SAFETY: the workspace is ours, page-aligned, and lives as long as this value.
        guard let context = unsafe ZSTD_initStaticDStream(workspace.base, workspace.size),
            unsafe ZSTD_isError(ZSTD_DCtx_setParameter(context, zstd_stable_output, 1)) == 0,
            unsafe ZSTD_isError(ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, Self.windowLogLimit)) == 0
        else { throw .memory(.invalid) }
        self.workspace = workspace
        unsafe self.context = context
        self.output = output
    }

    func decode(_ input: [UInt8], from start: Int, produced: Int) throws(DecompressionError) -> Decompressor.Step {
        // SAFETY: libzstd checks both sizes; the output is the same in each call, its position is the one that the last call left;
        // it keeps no pointer into `input` after the call.
        let (result, consumed, position) = unsafe input.withUnsafeBytes { bytes in
            var source = unsafe ZSTD_inBuffer(src: bytes.baseAddress, size: bytes.count, pos: start)
            var target = unsafe ZSTD_outBuffer(dst: output.base, size: output.count, pos: produced)
            let result = unsafe ZSTD_decompressStream(context, &target, &source)
            return unsafe (result, source.pos - start, target.pos)
        }
        guard ZSTD_isError(result) == 0 else {
            if ZSTD_getErrorCode(result) == ZSTD_error_dstSize_tooSmall { throw .tooLarge }
            throw .damaged(.zstd, unsafe String(cString: ZSTD_getErrorName(result)))
        }
        return Decompressor.Step(consumed: consumed, produced: position - produced, ended: result == 0)
    }
}
