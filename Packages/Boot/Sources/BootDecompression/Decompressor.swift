package import BootCommon

/// Decompresses a part of a file into memory that the caller gives, in one piece. Whatever the file holds, no byte beyond that
/// memory is written, and a decoder needs at most 300 KiB besides, which are gone when it is done. What has been written serves as
/// the decoder's window: a zstd frame may refer back 128 MiB and more, which would otherwise be memory of this process.
///
/// The memory may be shared with somebody who changes it meanwhile: both decoders only copy from what they wrote, and take no
/// sizes or positions from it.
///
/// No type here conforms to a protocol or has a deinit: the linker would keep both libraries in programs that never decompress.
package enum Decompressor {
    /// Memory of this process. SAFETY: whoever makes one sees to it that `count` bytes are writable while it is used.
    @safe package struct Output {
        let base: UnsafeMutableRawPointer
        let count: Int

        /// SAFETY: as above.
        @unsafe package init(base: UnsafeMutableRawPointer, count: Int) {
            unsafe self.base = base
            self.count = count
        }
    }

    /// What a decoder made of a piece of input.
    struct Step {
        var consumed = 0
        var produced = 0
        /// The stream is complete; another one may follow.
        var ended = false
    }

    private static let pieceSize: UInt64 = 64 << 10
    /// What tells whether another stream follows.
    private static let magicSize = 4

    /// - Parameters:
    ///   - offset: of the compressed data in `source`.
    ///   - count: most bytes that may be read from there. What follows the last stream is ignored.
    ///   - enough: it stops when so many bytes are there.
    /// - Returns: how many bytes of `output` have been written, `enough` or somewhat more if it stopped early.
    package static func decompress(
        _ format: KernelCompression, from source: borrowing some KernelSource & ~Copyable, at offset: UInt64, count: UInt64,
        to output: Output, enough: Int = .max
    ) throws(DecompressionError) -> Int {
        switch format {
        case .gzip:
            let stream = try GzipStream(output: output)
            defer { stream.close() }
            return try run(format, from: source, at: offset, count: count, enough: enough, room: output.count) {
                (piece, start, produced) throws(DecompressionError) in try stream.decode(piece, from: start, produced: produced)
            }
        case .zstd:
            let stream = try ZstdStream(output: output)
            return try run(format, from: source, at: offset, count: count, enough: enough, room: output.count) {
                (piece, start, produced) throws(DecompressionError) in try stream.decode(piece, from: start, produced: produced)
            }
        }
    }

    /// - Parameter decode: takes some of a piece of input, from an index on that is not its end, and knows how many bytes of the
    ///   output are written already.
    private static func run(
        _ format: KernelCompression, from source: borrowing some KernelSource & ~Copyable, at offset: UInt64, count: UInt64,
        enough: Int, room: Int, decode: ([UInt8], Int, Int) throws(DecompressionError) -> Step
    ) throws(DecompressionError) -> Int {
        var unread = count
        var piece: [UInt8] = []
        var used = 0
        var produced = 0
        var ended = false
        while produced < enough {
            // A magic number is seen in one piece, and no byte is read more than twice, however small the streams are.
            if used == piece.count || ended && piece.count - used < magicSize, unread > 0 {
                unread += UInt64(piece.count - used)
                piece = try read(source, at: offset &+ (count &- unread), count: min(unread, pieceSize))
                unread -= UInt64(piece.count)
                used = 0
            }
            if ended, !isStream(format, piece[used...]) { break }
            guard used < piece.count else { throw .endsEarly(format) }
            let step = try decode(piece, used, produced)
            // With input at hand and no room left the stream wants to go on; in any other case a decoder does something.
            guard step.consumed > 0 || step.produced > 0 || step.ended else {
                throw produced < room ? .damaged(format, "no progress") : .tooLarge
            }
            used += step.consumed
            produced += step.produced
            ended = step.ended
        }
        return produced
    }

    private static func read(
        _ source: borrowing some KernelSource & ~Copyable, at offset: UInt64, count: UInt64
    ) throws(DecompressionError) -> [UInt8] {
        do throws(KernelSourceError) {
            return try source.read(at: offset, count: Int(truncatingIfNeeded: count))
        } catch {
            throw .source(error)
        }
    }

    /// Whether what follows a complete stream is another one.
    private static func isStream(_ format: KernelCompression, _ rest: ArraySlice<UInt8>) -> Bool {
        switch format {
        case .gzip: rest.starts(with: [0x1f, 0x8b])
        // A frame, or a skippable one (RFC 8878, 3.1).
        case .zstd:
            rest.starts(with: [0x28, 0xb5, 0x2f, 0xfd])
                || rest.first.map { $0 & 0xf0 == 0x50 } == true && rest.dropFirst().starts(with: [0x2a, 0x4d, 0x18])
        }
    }
}
