import Glibc
import LinuxSys
import Testing

@testable import BlockBackend

@Suite struct MergeTests {
    /// Submits all, then kicks once; results by token.
    private func run(_ image: RawImage, _ operations: [BlockOperation]) -> [UInt64: Int32] {
        for operation in operations { image.submit(operation) }
        var results: [UInt64: Int32] = [:]
        image.drain { results[$0] = $1 }
        return results
    }

    private func memories(_ count: Int, of size: Int = 4096, pieces: [Int] = []) -> [RequestMemory] {
        (0..<count).map { index in
            let memory = RequestMemory(count: size, pieces: pieces)
            memory.bytes = pattern(size, UInt64(index + 1))
            return memory
        }
    }

    @Test(arguments: Configuration.all)
    func adjacentRequestsOfABatch_becomeOneCall_andEachHasItsResult(_ configuration: Configuration) throws {
        let file = try TemporaryFile(size: 1 << 20)
        let image = try configuration.open(file.path)
        let data = memories(32, pieces: [1024, 512])
        let writes = run(image, data.enumerated().map { $1.operation(.write, at: UInt64($0) * 4096 + 65536, token: UInt64($0)) })
        #expect(writes == Dictionary(uniqueKeysWithValues: (0..<32).map { (UInt64($0), 4096) }))
        // Pieces that direct I/O does not take go alone.
        let writeGroups: UInt64 = configuration.blockSize > 0 ? 0 : 1
        #expect(image.groups.done == writeGroups)
        let content = try file.content
        for (index, memory) in data.enumerated() { #expect(Array(content[65536 + index * 4096..<65536 + (index + 1) * 4096]) == memory.bytes) }
        let back = (0..<40).map { _ in RequestMemory(count: 4096) }
        #expect(run(image, back.enumerated().map { $1.operation(.read, at: UInt64($0) * 4096 + 65536, token: UInt64($0)) }).values.allSatisfy { $0 == 4096 })
        // 32 and 8.
        #expect(image.groups.done == writeGroups + 2)
        for (memory, other) in zip(back, data) { #expect(memory.bytes == other.bytes) }
        #expect(data.allSatisfy { $0.iovecs[0].iov_len == 1024 })
    }

    @Test func whatMayNotBeMerged_isNot() throws {
        let file = try TemporaryFile(size: 4 << 20)
        let image = try Configuration(engine: .threads, direct: false).open(file.path)
        let m = memories(2)
        func pair(_ first: BlockOperation.Kind, _ second: BlockOperation.Kind, _ at: UInt64, between: BlockOperation? = nil) -> UInt64 {
            let before = image.groups.done
            _ = run(image, [m[0].operation(first, at: 8192, token: 1)] + (between.map { [$0] } ?? []) + [m[1].operation(second, at: at, token: 2)])
            return image.groups.done - before
        }
        #expect(pair(.write, .write, 8192 + 4096) == 1)
        #expect(pair(.write, .write, 8192 + 4096, between: BlockOperation(.flush, token: 3)) == 0)
        #expect(pair(.write, .write, 8192 + 4096, between: BlockOperation(.writeZeroes, offset: 0, length: 512, token: 3)) == 0)
        #expect(pair(.write, .read, 8192 + 4096) == 0)
        // Backwards, overlapping, with a gap.
        #expect(pair(.write, .write, 4096) == 0)
        #expect(pair(.write, .write, 8192) == 0)
        #expect(pair(.read, .read, 8192 + 4608) == 0)
        // Too many iovecs, too many bytes.
        let fine = (0..<2).map { _ in RequestMemory(count: 200 * 512, pieces: Array(repeating: 512, count: 200)) }
        let big = (0..<2).map { _ in RequestMemory(count: 600 << 10) }
        let before = image.groups.done
        _ = run(image, [fine[0].operation(.read, at: 0, token: 0), fine[1].operation(.read, at: 200 * 512, token: 1)])
        _ = run(image, [big[0].operation(.read, at: 0, token: 0), big[1].operation(.read, at: 600 << 10, token: 1)])
        #expect(image.groups.done == before)
        withExtendedLifetime((m, fine, big)) {}
    }

    @Test func mergeLimit_isKept_andOneSwitchesMergingOff() throws {
        let file = try TemporaryFile(size: 1 << 20)
        for (limit, groups) in [(1, 0), (2, 5), (32, 1)] as [(Int, UInt64)] {
            let image = try RawImage.open(RawImageOptions(path: file.path, engine: .threads, mergeLimit: limit))
            let data = memories(10)
            #expect(run(image, data.enumerated().map { $1.operation(.write, at: UInt64($0) * 4096, token: UInt64($0)) }).count == 10)
            #expect(image.groups.done == groups)
            withExtendedLifetime(data) {}
        }
    }

    /// The host has shortened the file: one call for all fails, though the first of them could be served.
    @Test(arguments: Configuration.all)
    func groupThatFails_isDoneAgainOneByOne(_ configuration: Configuration) throws {
        let file = try TemporaryFile(size: 1 << 20, byte: 3)
        let image = try configuration.open(file.path)
        try #require(truncate(file.path, 8 * 4096) == 0)
        let data = memories(16)
        let results = run(image, data.enumerated().map { $1.operation(.read, at: UInt64($0) * 4096, token: UInt64($0)) })
        #expect(results == Dictionary(uniqueKeysWithValues: (0..<16).map { (UInt64($0), $0 < 8 ? 4096 : -EIO) }))
        for memory in data[..<8] { #expect(memory.bytes == Array(repeating: 3, count: 4096)) }
        #expect(image.groups.done == 1)
    }

    /// More batches than there are groups, and overlapping writes whose order counts.
    @Test(arguments: Configuration.all)
    func manyBatchesInFlight_endRight(_ configuration: Configuration) throws {
        let file = try TemporaryFile(size: 4 << 20)
        let image = try configuration.open(file.path)
        var expected = try file.content
        var random = SeededGenerator(state: 7)
        for _ in 0..<30 {
            var operations: [BlockOperation] = []
            var keep: [RequestMemory] = []
            var place: UInt64 = 0
            while operations.count < 100 {
                place += UInt64.random(in: 1...4, using: &random) * 4096
                for _ in 0..<Int.random(in: 1...6, using: &random) {
                    let memory = RequestMemory(count: Int.random(in: 1...4, using: &random) * 1024)
                    memory.bytes = pattern(memory.count, random.next())
                    expected.replaceSubrange(Int(place)..<Int(place) + memory.count, with: memory.bytes)
                    operations.append(memory.operation(.write, at: place, token: UInt64(operations.count)))
                    keep.append(memory)
                    place += UInt64(memory.count)
                }
                place = place & ~1023
            }
            let results = run(image, operations)
            #expect(operations.allSatisfy { results[$0.token] == Int32($0.length) })
            withExtendedLifetime(keep) {}
        }
        #expect(try file.content == expected)
        #expect(image.groups.done > (configuration.blockSize > 0 ? 10 : 100))
    }
}
