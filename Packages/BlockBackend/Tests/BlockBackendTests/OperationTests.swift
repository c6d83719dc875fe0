import Glibc
import LinuxSys
import Synchronization
import Testing

@testable import BlockBackend

@Suite struct OperationTests {
    @Test(arguments: Configuration.all)
    func readOnlyImage_refusesEveryChange_andTheDescriptorCannotWrite(_ configuration: Configuration) throws {
        let file = try TemporaryFile(size: 16384) { UInt8(truncatingIfNeeded: $0) }
        let before = try file.content
        let image = try configuration.open(file.path, readOnly: true, discard: true)
        #expect(image.isReadOnly)
        #expect(!image.supportsDiscard)
        #expect(!image.supportsWriteZeroes)
        let memory = RequestMemory(count: 4096)
        #expect(try image.run(.write, memory, at: 0) == -EROFS)
        #expect(try image.run(BlockOperation(.discard, length: 4096, token: 0)) == -EROFS)
        #expect(try image.run(BlockOperation(.writeZeroes, length: 4096, token: 0)) == -EROFS)
        #expect(try image.run(BlockOperation(.flush, token: 0)) == 0)
        #expect(try image.read(16384, at: 0) == before)
        // Below all checks of ours, the host's kernel refuses too.
        var byte: UInt8 = 1
        #expect(pwrite(image.image.file.raw, &byte, 1, 0) == -1)
        #expect(errno == EBADF)
        #expect(try file.content == before)
    }

    @Test(arguments: Configuration.all)
    func rangesBeyondTheEnd_areRefused_andTheFileDoesNotGrow(_ configuration: Configuration) throws {
        let file = try TemporaryFile(size: 16384)
        let image = try configuration.open(file.path, discard: true)
        let memory = RequestMemory(count: 1024)
        for offset: UInt64 in [16384 - 512, 16384, 1 << 40, UInt64.max - 100, UInt64.max] {
            #expect(try image.run(.read, memory, at: offset) == -EINVAL)
            #expect(try image.run(.write, memory, at: offset) == -EINVAL)
            #expect(try image.run(BlockOperation(.discard, offset: offset, length: 1024, token: 0)) == -EINVAL)
            #expect(try image.run(BlockOperation(.writeZeroes, offset: offset, length: 1024, token: 0)) == -EINVAL)
        }
        #expect(try image.run(BlockOperation(.writeZeroes, offset: 1, length: .max, token: 0)) == -EINVAL)
        #expect(file.status.st_size == 16384)
    }

    @Test func operationWhoseVectorsDoNotAddUp_isRefused() throws {
        let file = try TemporaryFile(size: 16384)
        let image = try RawImage.open(RawImageOptions(path: file.path))
        let memory = RequestMemory(count: 1024)
        var operation = memory.operation(.write, at: 0)
        operation.length = 2048
        #expect(try image.run(operation) == -EINVAL)
        operation.length = 1024
        operation.iovecCount = 1025
        #expect(try image.run(operation) == -EINVAL)
        operation.iovecCount = -1
        #expect(try image.run(operation) == -EINVAL)
        operation.iovecs = nil
        operation.iovecCount = 1
        #expect(try image.run(operation) == -EINVAL)
        memory.iovecs[0].iov_len = Int.max
        operation = memory.operation(.write, at: 0)
        #expect(try withExtendedLifetime(memory) { try image.run(operation) } == -EINVAL)
        #expect(try image.run(.read, RequestMemory(count: 0), at: 512) == 0)
    }

    @Test(arguments: Configuration.all)
    func fileShortenedByTheHost_readIsAnError_andTheImageStaysUsable(_ configuration: Configuration) throws {
        let file = try TemporaryFile(size: 65536, byte: 3)
        let image = try configuration.open(file.path)
        try #require(truncate(file.path, 16384 + 100) == 0)
        let memory = RequestMemory(count: 8192)
        #expect(try image.run(.read, memory, at: 32768) == -EIO)
        #expect(try image.run(.read, memory, at: 12288) == -EIO)
        #expect(memory.iovecs[0].iov_len == 8192)
        let skewed = RequestMemory(count: 8192, skew: 1)
        #expect(try image.run(.read, skewed, at: 32768) == -EIO)
        #expect(try image.run(.read, skewed, at: 12288) == -EIO)
        #expect(try image.read(8192, at: 0) == Array(repeating: 3, count: 8192))
    }

    @Test(arguments: Configuration.all)
    func discard_freesSpaceOnTheHost_andReadsAsZeros(_ configuration: Configuration) throws {
        let file = try TemporaryFile(size: 4 << 20, byte: 0xa5)
        let image = try configuration.open(file.path, discard: true)
        #expect(image.supportsDiscard)
        #expect(try image.run(BlockOperation(.flush, token: 0)) == 0)
        let before = file.status.st_blocks
        #expect(try image.run(BlockOperation(.discard, offset: 1 << 20, length: 2 << 20, token: 0)) == 0)
        #expect(file.status.st_blocks <= before - (2 << 20) / 512 + 64)
        #expect(file.status.st_size == 4 << 20)
        #expect(try image.read(4096, at: 2 << 20) == Array(repeating: 0, count: 4096))
        #expect(try image.read(4096, at: 0) == Array(repeating: 0xa5, count: 4096))
        #expect(try image.run(BlockOperation(.writeZeroes, offset: 3 << 20, length: 1 << 20, mayUnmap: true, token: 0)) == 0)
        #expect(file.status.st_blocks <= before - (3 << 20) / 512 + 64)
    }

    @Test(arguments: Configuration.all)
    func discard_withoutTheOption_isNotSupported_andZeroWritesKeepTheSpace(_ configuration: Configuration) throws {
        let file = try TemporaryFile(size: 1 << 20, byte: 0xa5)
        let image = try configuration.open(file.path)
        #expect(!image.supportsDiscard)
        #expect(image.supportsWriteZeroes)
        #expect(try image.run(BlockOperation(.flush, token: 0)) == 0)
        let before = file.status.st_blocks
        #expect(try image.run(BlockOperation(.discard, offset: 0, length: 65536, token: 0)) == -EOPNOTSUPP)
        #expect(try image.run(BlockOperation(.writeZeroes, offset: 512, length: 65536, mayUnmap: true, token: 0)) == 0)
        #expect(try image.read(66560, at: 0) == Array(repeating: 0xa5, count: 512) + Array(repeating: 0, count: 65536) + Array(repeating: 0xa5, count: 512))
        #expect(file.status.st_blocks >= before)
    }

    /// Where fallocate cannot do it.
    @Test(arguments: Configuration.all)
    func writeZeroBytes_unalignedRange_touchesNothingElse(_ configuration: Configuration) throws {
        let file = try TemporaryFile(size: 300_032, byte: 0xa5)
        let image = try configuration.open(file.path)
        var bounce = BounceBuffer()
        #expect(image.image.writeZeroBytes(BlockOperation(.writeZeroes, offset: 700, length: 200_000, token: 0), &bounce) == 0)
        let content = try file.content
        #expect(content[..<700].allSatisfy { $0 == 0xa5 })
        #expect(content[700..<200_700].allSatisfy { $0 == 0 })
        #expect(content[200_700...].allSatisfy { $0 == 0xa5 })
    }

    @Test(arguments: Configuration.all)
    func drain_withManyInFlight_deliversEachOnce_andWhatItsBodySubmits(_ configuration: Configuration) throws {
        let file = try TemporaryFile(size: 1 << 20)
        let image = try configuration.open(file.path)
        let memories = (0..<100).map { RequestMemory(count: 4096, skew: $0 % 3) }
        var delivered: [UInt64: Int] = [:]
        for (index, memory) in memories.enumerated() { image.submit(memory.operation(.write, at: UInt64(index) * 4096, token: UInt64(index))) }
        image.drain { token, result in
            #expect(result == 4096 || token >= 1000 && result == 0)
            delivered[token, default: 0] += 1
            if token < 10 { image.submit(BlockOperation(.flush, token: token + 1000)) }
        }
        withExtendedLifetime(memories) {}
        #expect(delivered.count == 110)
        #expect(delivered.values.allSatisfy { $0 == 1 })
        var more = 0
        image.reap { _, _ in more += 1 }
        image.drain { _, _ in more += 1 }
        #expect(more == 0)
    }

    /// A vCPU that resets the device drains on its own thread, and may end right afterwards: neither what the owner has started, while it waits for the
    /// device's lock, nor what the draining thread itself hands to the kernel may be cancelled or wait for the owner.
    @Test(arguments: Configuration.all)
    func drain_onAThreadThatThenEnds_completesWhatBothThreadsStarted(_ configuration: Configuration) throws {
        let file = try TemporaryFile(size: 4 << 20)
        let image = try configuration.open(file.path)
        for _ in 0..<20 {
            let memories = (0..<64).map { _ in RequestMemory(count: 16384) }
            for (index, memory) in memories.enumerated() {
                image.submit(memory.operation(index % 2 == 0 ? .write : .read, at: UInt64(index) * 16384, token: UInt64(index)))
                if index == 31 { image.kick() }
            }
            let results = Mutex<[Int32]>([])
            let thread = try OSThread.start(name: "vcpu", stackSize: 1 << 20) {
                image.drain { _, result in results.withLock { $0.append(result) } }
            }
            thread.join()
            withExtendedLifetime(memories) {}
            #expect(results.withLock { $0 } == Array(repeating: 16384, count: 64))
        }
    }

    @Test(arguments: Configuration.all)
    func imageDropped_withOperationsInFlight_waitsForThem(_ configuration: Configuration) throws {
        let file = try TemporaryFile(size: 8 << 20)
        let memories = (0..<64).map { _ in RequestMemory(count: 65536) }
        for memory in memories { memory.bytes = Array(repeating: 0x77, count: 65536) }
        do {
            let image = try configuration.open(file.path)
            for (index, memory) in memories.enumerated() { image.submit(memory.operation(.write, at: UInt64(index) * 65536)) }
            image.kick()
        }
        withExtendedLifetime(memories) {}
        #expect(try file.content[..<(4 << 20)] == Array(repeating: 0x77, count: 4 << 20)[...])
    }

    @Test func moreThanTheLimit_isRefusedAsBusy_notLost() throws {
        let file = try TemporaryFile(size: 65536)
        let image = try RawImage.open(RawImageOptions(path: file.path, inFlightLimit: 4))
        #expect(image.inFlightLimit == 4)
        let memories = (0..<6).map { _ in RequestMemory(count: 512) }
        for (index, memory) in memories.enumerated() { image.submit(memory.operation(.read, at: 0, token: UInt64(index))) }
        var results: [UInt64: Int32] = [:]
        image.drain { results[$0] = $1 }
        withExtendedLifetime(memories) {}
        #expect(results == [0: 512, 1: 512, 2: 512, 3: 512, 4: -EBUSY, 5: -EBUSY])
    }

    @Test func threadsEngine_idle_hasNoThreads_andBusyKeepsToItsLimit() throws {
        let file = try TemporaryFile(size: 1 << 20)
        let image = try RawImage.open(RawImageOptions(path: file.path, engine: .threads, threadLimit: 3))
        #expect(image.pool.threadCount == 0)
        _ = try image.read(512, at: 0)
        #expect(image.pool.threadCount == 1)
        let memories = (0..<100).map { _ in RequestMemory(count: 4096) }
        for memory in memories { image.submit(memory.operation(.write, at: 0)) }
        image.drain { _, _ in }
        withExtendedLifetime(memories) {}
        #expect(image.pool.threadCount <= 3)
    }

    @Test func threadsBeyondTheFirst_endWhenThereIsNothingToDo_andComeBack() throws {
        let file = try TemporaryFile(size: 1 << 20)
        let image = try RawImage.open(RawImageOptions(path: file.path, engine: .threads))
        func flood() {
            let memories = (0..<100).map { _ in RequestMemory(count: 4096) }
            for (index, memory) in memories.enumerated() { image.submit(memory.operation(.write, at: UInt64(index) * 8192)) }
            var ended = 0
            image.drain { _, result in if result == 4096 { ended += 1 } }
            #expect(ended == 100)
            withExtendedLifetime(memories) {}
        }
        for _ in 0..<2 {
            flood()
            #expect((1...16).contains(image.pool.threadCount))
            let end = Clock.monotonicNanoseconds() + 20_000_000_000
            while image.pool.threadCount > 4, Clock.monotonicNanoseconds() < end { Clock.sleep(nanoseconds: 50_000_000) }
            #expect(image.pool.threadCount <= 4)
        }
    }

    /// A guest that floods a disk with operations that fail at once must not keep the event loop in `reap`.
    @Test func bodyThatSubmitsFailingOperations_doesNotHoldReap() throws {
        let file = try TemporaryFile(size: 4096)
        let image = try RawImage.open(RawImageOptions(path: file.path))
        image.submit(BlockOperation(.discard, token: 0))
        image.kick()
        var count = 0
        for _ in 0..<10 {
            image.reap { _, _ in
                count += 1
                image.submit(BlockOperation(.discard, token: 0))
            }
            image.kick()
        }
        #expect(count == 10)
    }
}
