import BootCommon
import BootTestSupport
import Foundation
import Testing

@testable import BootDecompression

@Suite struct DecompressorTests {
    /// What comes out of `bytes` into `room` bytes, behind which nothing may change.
    private func decompress(
        _ format: KernelCompression, _ bytes: [UInt8], room: Int = 1 << 20, enough: Int = .max
    ) throws -> [UInt8] {
        let guardSize = 256
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: room + guardSize, alignment: 64)
        defer { memory.deallocate() }
        memory.initializeMemory(as: UInt8.self, repeating: 0xa5)
        defer { #expect(memory[room...].allSatisfy { $0 == 0xa5 }) }
        let written = try Decompressor.decompress(
            format, from: BytesKernelSource(bytes), at: 0, count: UInt64(bytes.count),
            to: .init(base: try #require(memory.baseAddress), count: room), enough: enough)
        #expect(written <= room)
        return Array(memory[..<written])
    }

    private func compress(_ format: KernelCompression, _ bytes: [UInt8]) -> [UInt8] {
        switch format {
        case .gzip: bytes.gzipped()
        case .zstd: bytes.zstandard()
        }
    }

    /// Half of it compresses.
    private static let sample: [UInt8] = {
        var random = SeededGenerator(seed: 7)
        return (0..<500_000).map { $0 >> 12 & 1 == 0 ? UInt8.random(in: 0...255, using: &random) : UInt8(truncatingIfNeeded: $0) }
    }()

    private static let formats: [KernelCompression] = [.gzip, .zstd]

    @Test(arguments: formats) func roundTrip(_ format: KernelCompression) throws {
        #expect(try decompress(format, compress(format, Self.sample)) == Self.sample)
        #expect(try decompress(format, compress(format, [])) == [])
    }

    @Test(arguments: formats) func exactRoom_suffices_andOneByteLessDoesNot(_ format: KernelCompression) throws {
        let packed = compress(format, Self.sample)
        #expect(try decompress(format, packed, room: Self.sample.count) == Self.sample)
        #expect(throws: DecompressionError.tooLarge) { try decompress(format, packed, room: Self.sample.count - 1) }
        #expect(throws: DecompressionError.tooLarge) { try decompress(format, packed, room: 1) }
    }

    @Test(arguments: formats) func enough_stopsEarly(_ format: KernelCompression) throws {
        let start = try decompress(format, compress(format, Self.sample), enough: 4096)
        #expect(start.count >= 4096 && start.count < Self.sample.count)
        #expect(Self.sample.starts(with: start))
    }

    @Test(arguments: formats) func severalStreams_areOne(_ format: KernelCompression) throws {
        let packed = compress(format, Array(Self.sample[..<70_000])) + compress(format, []) + compress(format, Array(Self.sample[70_000...]))
        #expect(try decompress(format, packed) == Self.sample)
    }

    @Test(arguments: formats) func whatFollowsTheStream_isIgnored(_ format: KernelCompression) throws {
        let packed = compress(format, Self.sample)
        for tail in [[0], [0, 0, 0, 0, 0], Array("signature".utf8), [0x28, 0xb5], [UInt8](repeating: 0, count: 100_000)] {
            #expect(try decompress(format, packed + tail) == Self.sample)
        }
    }

    @Test(arguments: formats) func truncation_isSeenAtEveryByte(_ format: KernelCompression) throws {
        let packed = compress(format, Array(Self.sample[..<3000]))
        for length in 0..<packed.count {
            #expect(throws: DecompressionError.endsEarly(format), "\(length)") { try decompress(format, Array(packed[..<length]), room: 4096) }
        }
        let large = compress(format, Self.sample)
        for length in stride(from: 1, to: large.count, by: 7919) {
            #expect(throws: DecompressionError.endsEarly(format), "\(length)") { try decompress(format, Array(large[..<length])) }
        }
    }

    @Test(arguments: formats) func damage_isAnError(_ format: KernelCompression) throws {
        let packed = compress(format, Self.sample)
        // The first block's data and the checksum; gzip's length field too.
        for position in [packed.count / 2, packed.count - 1, packed.count - 4] {
            var damaged = packed
            damaged[position] ^= 0x10
            #expect(throws: DecompressionError.self, "\(position)") { try decompress(format, damaged) }
        }
    }

    @Test func damage_isNamed() throws {
        var gzip = Self.sample.gzipped()
        gzip[gzip.count - 5] ^= 1
        #expect(throws: DecompressionError.damaged(.gzip, "incorrect data check")) { try decompress(.gzip, gzip) }
        var zstd = Self.sample.zstandard()
        zstd[zstd.count - 1] ^= 1
        #expect(throws: DecompressionError.damaged(.zstd, "Restored data doesn't match checksum")) { try decompress(.zstd, zstd) }
        #expect(throws: DecompressionError.damaged(.gzip, "incorrect header check")) { try decompress(.gzip, zstd) }
        #expect(throws: DecompressionError.damaged(.zstd, "Unknown frame descriptor")) { try decompress(.zstd, gzip) }
        #expect(DecompressionError.damaged(.zstd, "x").description == "its zstd data are damaged: x")
        #expect(DecompressionError.endsEarly(.gzip).description == "its gzip data end too early")
    }

    @Test func bombs_stopAtTheEndOfTheRoom() throws {
        #expect(try decompress(.zstd, zstandardBomb(blocks: 8)).count == 1 << 20)
        // 1 GiB in 32 KiB, and as much in a gzip member of gzip's best ratio.
        #expect(throws: DecompressionError.tooLarge) { try decompress(.zstd, zstandardBomb(blocks: 8192)) }
        let zeros = [UInt8](repeating: 0, count: 32 << 20).gzipped()
        #expect(zeros.count < 64 << 10)
        #expect(throws: DecompressionError.tooLarge) { try decompress(.gzip, zeros) }
    }

    @Test func frameSizeThatLies_isAnError() throws {
        var frame = Self.sample.zstandard(tellsSize: true)
        #expect(try decompress(.zstd, frame) == Self.sample)
        #expect(throws: DecompressionError.tooLarge) { try decompress(.zstd, frame, room: Self.sample.count - 1, enough: 64) }
        // Single segment, 4 bytes of size at 5 (RFC 8878, 3.1.1.1).
        #expect(frame[4] & 0xe0 == 0xa0)
        frame.put(UInt32(Self.sample.count - 1), at: 5)
        #expect(throws: DecompressionError.self) { try decompress(.zstd, frame) }
        frame.put(UInt32.max, at: 5)
        #expect(throws: DecompressionError.tooLarge) { try decompress(.zstd, frame) }
    }

    @Test func windowOfTwoGiB_costsNothing() throws {
        var frame = zstandardBomb(blocks: 2)
        frame[5] = 21 << 3
        let before = residentKiB()
        #expect(try decompress(.zstd, frame).count == 256 << 10)
        #expect(residentKiB() - before < 4096)
        frame[5] = 22 << 3
        #expect(throws: DecompressionError.damaged(.zstd, "Frame requires too much memory for decoding")) {
            try decompress(.zstd, frame)
        }
    }

    @Test func longWindow_isTheOutput() throws {
        // 3 MiB apart, what repeats is found only in a window of 4 MiB.
        var random = SeededGenerator(seed: 3)
        let part = (0..<3 << 20).map { _ in UInt8.random(in: 0...255, using: &random) }
        let packed = (part + part).zstandard(windowLog: 23)
        #expect(packed.count < 4 << 20)
        #expect(try decompress(.zstd, packed, room: 6 << 20) == part + part)
    }

    @Test func emptyFrames_areReadOnce() throws {
        // Each ends before the next is known; 30 MiB of them must not take longer than other 30 MiB.
        let skippable: [UInt8] = [0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0]
        let many = Array(repeatElement(skippable, count: 100_000).joined()) + Array("abc".utf8).zstandard()
        #expect(try decompress(.zstd, many) == Array("abc".utf8))
        let members = Array(repeatElement([UInt8]().gzipped(), count: 20_000).joined()) + Array("abc".utf8).gzipped()
        #expect(try decompress(.gzip, members) == Array("abc".utf8))
    }

    @Test func sourceThatShrinks_isAnError() throws {
        let packed = Self.sample.gzipped()
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 64)
        defer { memory.deallocate() }
        #expect(throws: DecompressionError.source(.shrank)) {
            try Decompressor.decompress(
                .gzip, from: BytesKernelSource(packed), at: 0, count: UInt64(packed.count) + (1 << 20),
                to: .init(base: memory.baseAddress!, count: 4096 << 7), enough: .max)
        }
    }

    /// Whatever a file holds, it ends and stays inside.
    @Test(arguments: formats) func mutatedStreams_stayInside(_ format: KernelCompression) throws {
        var random = SeededGenerator(seed: format == .gzip ? 11 : 12)
        let packed = compress(format, Array(Self.sample[..<40_000]))
        for _ in 0..<2000 {
            var bytes = packed
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
            }
            _ = try? decompress(format, bytes, room: Int.random(in: 1...60_000, using: &random))
        }
    }

    private func residentKiB() -> Int {
        guard let text = try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8),
            let pages = text.split(separator: " ").dropFirst().first.flatMap({ Int($0) })
        else { return 0 }
        return pages * 4
    }
}
