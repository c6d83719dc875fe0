import Glibc
import LinuxSys
import Testing

@testable import BlockBackend

@Suite struct RoundTripTests {
    @Test(arguments: Configuration.all)
    func write_thenRead_givesTheSameBytes(_ configuration: Configuration) throws {
        let file = try TemporaryFile(size: 1 << 20)
        let image = try configuration.open(file.path)
        #expect(image.sectorCount == 2048)
        #expect(image.logicalBlockSize == 512)
        let bytes = (0..<65536).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }
        try image.write(bytes, at: 131072, pieces: [512, 4096, 1024, 8192])
        #expect(try image.run(BlockOperation(.flush, token: 3)) == 0)
        #expect(try image.read(65536, at: 131072, pieces: [8192, 512, 1536]) == bytes)
        #expect(try Array(file.content[131072..<196608]) == bytes)
        #expect(try file.content[..<131072].allSatisfy { $0 == 0 })
    }

    /// Addresses, lengths and offsets in every combination of aligned and not, across pieces larger than the bounce buffer.
    @Test(arguments: Configuration.all)
    func unalignedRequests_everyCombination_touchOnlyTheirBytes(_ configuration: Configuration) throws {
        let size = 512 << 10
        let file = try TemporaryFile(size: size) { UInt8(truncatingIfNeeded: $0 / 512 &* 7 &+ $0) }
        var expected = try file.content
        let image = try configuration.open(file.path)
        var fill: UInt8 = 0
        for offset in [0, 1, 511, 3584, 4096, 4097, 65536 - 512, 200_000] {
            for length in [1, 511, 512, 1024, 4096, 4608, 65536 + 512, 150_001] {
                for skew in [0, 1, 512] {
                    fill &+= 1
                    let bytes = pattern(length, UInt64(fill) &* 0x0123_4567_89ab)
                    try image.write(bytes, at: UInt64(offset), skew: skew, pieces: [100, 512])
                    expected.replaceSubrange(offset..<offset + length, with: bytes)
                }
                let from = max(0, offset - 700)
                let count = min(size - from, length + 1400)
                #expect(try image.read(count, at: UInt64(from), skew: offset & 1) == Array(expected[from..<from + count]))
            }
        }
        #expect(try file.content == expected)
    }

    /// A file whose size is no multiple of the disk's block: direct I/O cannot reach its end, and must not make it longer.
    @Test(arguments: Configuration.all)
    func oddFileSize_lastSectors_areReachableAndFileKeepsItsSize(_ configuration: Configuration) throws {
        let size = 5 * 4096 + 3 * 512 + 100
        let file = try TemporaryFile(size: size) { UInt8(truncatingIfNeeded: $0 &* 13) }
        var expected = try file.content
        let image = try configuration.open(file.path)
        #expect(image.sectorCount == 43)
        let end = 43 * 512
        #expect(try image.read(end, at: 0) == Array(expected[..<end]))
        for (offset, length) in [(end - 512, 512), (end - 1024, 1024), (4 * 4096, end - 4 * 4096), (5 * 4096 - 512, 1024)] {
            let bytes = (0..<length).map { UInt8(truncatingIfNeeded: $0 &* 3 &+ offset) }
            try image.write(bytes, at: UInt64(offset))
            expected.replaceSubrange(offset..<offset + length, with: bytes)
            #expect(try image.read(end, at: 0) == Array(expected[..<end]))
        }
        #expect(try image.run(BlockOperation(.flush, token: 0)) == 0)
        #expect(try file.content == expected)
    }

    @Test(arguments: Configuration.all)
    func iovecs_afterCompletion_areAsTheCallerLeftThem(_ configuration: Configuration) throws {
        let file = try TemporaryFile(size: 65536)
        let image = try configuration.open(file.path)
        let memory = RequestMemory(count: 3000, skew: 3, pieces: [1000, 1, 999])
        let before = (0..<4).map { (memory.iovecs[$0].iov_base, memory.iovecs[$0].iov_len) }
        #expect(try image.run(.write, memory, at: 123) == 3000)
        for index in 0..<4 { #expect(memory.iovecs[index].iov_base == before[index].0 && memory.iovecs[index].iov_len == before[index].1) }
    }

    /// Many operations at once against an array, with a fixed seed. Operations in flight never overlap in bytes, but often share blocks.
    @Test(arguments: Configuration.all, [512, 1])
    func randomOperations_manyInFlight_matchAnArray(_ configuration: Configuration, granularity: Int) throws {
        let size = 256 << 10
        let file = try TemporaryFile(size: size) { UInt8(truncatingIfNeeded: $0 &* 5) }
        var expected = try file.content
        let image = try configuration.open(file.path, discard: true, inFlightLimit: 32)
        var random = SeededGenerator(state: UInt64(granularity) &+ 42)
        var inFlight: [UInt64: (range: Range<Int>, memory: RequestMemory?, expected: [UInt8]?)] = [:]
        var token: UInt64 = 0
        var submitted = 0

        func complete(_ token: UInt64, _ result: Int32) {
            guard let request = inFlight.removeValue(forKey: token) else {
                Issue.record("unknown token \(token)")
                return
            }
            if let memory = request.memory { #expect(result == Int32(memory.count)) } else { #expect(result == 0) }
            if let expected = request.expected { #expect(request.memory?.bytes == expected, "read of \(request.range)") }
        }

        while submitted < 1200 {
            while inFlight.count < 32 {
                let length = granularity * Int.random(in: 1...(Int.random(in: 0..<8, using: &random) == 0 ? 40_000 : 6000) / granularity, using: &random)
                let start = granularity * Int.random(in: 0...(size - length) / granularity, using: &random)
                let range = start..<start + length
                if inFlight.values.contains(where: { $0.range.overlaps(range) }) { break }
                token += 1
                submitted += 1
                let skew = [0, 0, 512, 4, 1].randomElement(using: &random) ?? 0
                switch Int.random(in: 0..<20, using: &random) {
                case 0:
                    inFlight[token] = (0..<0, nil, nil)
                    image.submit(BlockOperation(.flush, token: token))
                case 1, 2:
                    expected.replaceSubrange(range, with: repeatElement(0, count: length))
                    inFlight[token] = (range, nil, nil)
                    let kind: BlockOperation.Kind = Bool.random(using: &random) ? .discard : .writeZeroes
                    image.submit(BlockOperation(kind, offset: UInt64(start), length: UInt64(length), mayUnmap: Bool.random(using: &random), token: token))
                case 3..<11:
                    let memory = RequestMemory(count: length, skew: skew, pieces: [512, 1024])
                    memory.bytes = pattern(length, random.next())
                    expected.replaceSubrange(range, with: memory.bytes)
                    inFlight[token] = (range, memory, nil)
                    image.submit(memory.operation(.write, at: UInt64(start), token: token))
                default:
                    let memory = RequestMemory(count: length, skew: skew, pieces: [4096, 512])
                    inFlight[token] = (range, memory, Array(expected[range]))
                    image.submit(memory.operation(.read, at: UInt64(start), token: token))
                }
            }
            image.kick()
            try #require(image.wait(), "no completion within 10 s")
            image.reap(complete)
        }
        image.drain(complete)
        #expect(inFlight.isEmpty)
        #expect(try file.content == expected)
    }

    /// The lost update: two guest sectors of one disk block, written again and again at the same time.
    @Test(arguments: [RawImageOptions.Engine.ioUring, .threads])
    func neighbourSectorsOfOneBlock_writtenTogether_loseNothing(_ engine: RawImageOptions.Engine) throws {
        let file = try TemporaryFile(size: 8192)
        let image = try Configuration(engine: engine, direct: true, blockSize: 4096).open(file.path)
        let memories = (0..<16).map { _ in RequestMemory(count: 512) }
        for round in 1...60 {
            for (sector, memory) in memories.enumerated() {
                memory.bytes = Array(repeating: UInt8(round &+ sector), count: 512)
                image.submit(memory.operation(.write, at: UInt64(sector * 512), token: UInt64(sector)))
            }
            var results: [Int32] = []
            image.drain { results.append($1) }
            withExtendedLifetime(memories) {}
            #expect(results == Array(repeating: 512, count: 16))
            let content = try file.content
            #expect(content == (0..<16).flatMap { Array(repeating: UInt8(round &+ $0), count: 512) })
        }
    }
}
