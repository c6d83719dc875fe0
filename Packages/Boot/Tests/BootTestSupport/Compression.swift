import CZlib
import CZstd

extension Array where Element == UInt8 {
    /// One gzip member.
    public func gzipped() -> [UInt8] {
        var stream = z_stream()
        precondition(
            deflateInit2_(
                &stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size)) == Z_OK)
        defer { deflateEnd(&stream) }
        var output = [UInt8](repeating: 0, count: Int(deflateBound(&stream, UInt(count))) + 64)
        var input = self
        let written = input.withUnsafeMutableBufferPointer { source in
            output.withUnsafeMutableBufferPointer { target in
                stream.next_in = source.baseAddress
                stream.avail_in = UInt32(source.count)
                stream.next_out = target.baseAddress
                stream.avail_out = UInt32(target.count)
                precondition(deflate(&stream, Z_FINISH) == Z_STREAM_END)
                return target.count - Int(stream.avail_out)
            }
        }
        return Array(output[..<written])
    }

    /// One zstd frame with a checksum.
    /// - Parameter tellsSize: whether the frame says how much comes out; the kernel's build makes frames that do not.
    public func zstandard(tellsSize: Bool = false, windowLog: Int32 = 0) -> [UInt8] {
        guard let context = ZSTD_createCCtx() else { preconditionFailure("no memory") }
        defer { ZSTD_freeCCtx(context) }
        ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1)
        ZSTD_CCtx_setParameter(context, ZSTD_c_contentSizeFlag, tellsSize ? 1 : 0)
        ZSTD_CCtx_setParameter(context, ZSTD_c_windowLog, windowLog)
        var output = [UInt8](repeating: 0, count: ZSTD_compressBound(count))
        let written = ZSTD_compress2(context, &output, output.count, self, count)
        precondition(ZSTD_isError(written) == 0)
        return Array(output[..<written])
    }
}

/// A zstd frame of `blocks` blocks, each of 128 KiB of one byte in 4 bytes of the frame (RFC 8878, 3.1.1), of a window of 2 MiB.
public func zstandardBomb(blocks: Int, byte: UInt8 = 0) -> [UInt8] {
    var frame: [UInt8] = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 11 << 3]
    for index in 1...blocks {
        let header = UInt32(index == blocks ? 1 : 0) | 1 << 1 | UInt32(128 << 10) << 3
        frame += [UInt8(header & 0xff), UInt8(header >> 8 & 0xff), UInt8(header >> 16), byte]
    }
    return frame
}
