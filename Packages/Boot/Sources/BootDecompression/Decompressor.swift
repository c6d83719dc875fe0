package import BootCommon

/// Decompresses a part of a file into memory that the caller gives, in one piece. Whatever the file holds, no byte beyond that
/// memory is written, and a decoder needs at most 300 KiB besides, which are gone when it is done. What has been written serves as
/// the decoder's window: a zstd frame may refer back 128 MiB and more, which would otherwise be memory of this process.
///
/// The memory may be shared with somebody who changes it meanwhile: both decoders only copy from what they wrote, and take no
/// sizes or positions from it.
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
            var decoder = try GzipDecoder(output: output)
            return try run(&decoder, from: source, at: offset, count: count, enough: enough, room: output.count)
        case .zstd:
            var decoder = try ZstdDecoder(output: output)
            return try run(&decoder, from: source, at: offset, count: count, enough: enough, room: output.count)
        }
    }

    private static func run(
        _ decoder: inout some StreamDecoder & ~Copyable, from source: borrowing some KernelSource & ~Copyable, at offset: UInt64,
        count: UInt64, enough: Int, room: Int
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
            if ended, !decoder.continues(with: piece[used...]) { break }
            guard used < piece.count else { throw .endsEarly(decoder.format) }
            let step = try decoder.decode(piece, from: used, produced: produced)
            // With input at hand and no room left the stream wants to go on; in any other case a decoder does something.
            guard step.consumed > 0 || step.produced > 0 || step.ended else {
                throw produced < room ? .damaged(decoder.format, "no progress") : .tooLarge
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
}

/// A library's decoder for one format. It knows its output from the start and never writes beyond it.
protocol StreamDecoder: ~Copyable {
    var format: KernelCompression { get }

    /// Whether what follows a complete stream is another one.
    func continues(with rest: ArraySlice<UInt8>) -> Bool

    /// Takes some of `input`, from index `start` on, which is not its end.
    /// - Parameter produced: bytes of the output that are written already.
    mutating func decode(_ input: [UInt8], from start: Int, produced: Int) throws(DecompressionError) -> Decompressor.Step
}
