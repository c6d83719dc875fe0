import Devices
import Foundation
import LinuxSys
import Testing
@testable import Virtio

@Suite struct EntropyTests {
    private func guest(_ path: String = "/dev/urandom", rate: VirtioRng.Rate? = nil) throws -> QueueGuest {
        let guest = try QueueGuest(try VirtioRng(sourcePath: path, rate: rate))
        try guest.start(size: 64)
        return guest
    }

    /// Turns the loop until something is used, at most ten seconds.
    private func waitForUsed(_ guest: QueueGuest) throws -> [UsedEntry] {
        for _ in 0..<2000 {
            guest.serve()
            let used = try guest.newUsed(0)
            if !used.isEmpty { return used }
            Clock.sleep(nanoseconds: 5_000_000)
        }
        return []
    }

    private let place = QueueGuest.data

    @Test func request_isFilledWithTheSourcesBytes() throws {
        let guest = try guest()
        #expect(guest.read(.deviceID) == 4)
        #expect(guest.config(0, 8) == 0)
        try guest.offer(0, [.writable(place, 64), .writable(place + 128, 8000)])
        guest.kick(0)
        #expect(try guest.newUsed(0) == [UsedEntry(id: 0, length: 8064)])
        #expect(guest.read(.interruptStatus) == VirtioInterrupt.usedBuffer)
        #expect(Set(try guest.bytes(place, 64)).count > 10)
        #expect(Set(try guest.bytes(place + 128 + 7000, 1000)).count > 100)
        #expect(try guest.bytes(place + 64, 64) == [UInt8](repeating: 0, count: 64))
    }

    @Test func sources_mustBeCharacterDevices() throws {
        let directory = FileManager.default.temporaryDirectory.path
        let fifo = directory + "/f-\(UUID().uuidString.prefix(8))"
        #expect(mkfifo(fifo, 0o600) == 0)
        defer { unlink(fifo) }
        for path in [directory, fifo, "/proc/self/status"] {
            #expect(throws: EntropyError.notACharacterDevice(path: path)) { try VirtioRng(sourcePath: path) }
        }
        #expect(throws: EntropyError.cannotOpen(path: "/nonexistent", .noEntry)) { try VirtioRng(sourcePath: "/nonexistent") }
        #expect(EntropyError.cannotOpen(path: "/x", .noEntry).description == "-object rng-random: cannot open '/x': No such file or directory")
        #expect(EntropyError.notACharacterDevice(path: "/x").description == "-object rng-random: '/x' is not a character device")
    }

    @Test func rates_outside64BytesTo1GigabyteASecond_areRefused() throws {
        for (bytes, period) in [(63, 1000), (64, 1001), (1_000_001, 1), (1_000_000_001, 1000), (0, 1), (1, 0), (0, 0), (.max, 1), (1000, .max)] as [(UInt64, UInt64)] {
            #expect(throws: EntropyError.badRate(maximumBytes: bytes, periodMilliseconds: period)) {
                try VirtioRng(sourcePath: "/dev/urandom", rate: .init(maximumBytes: bytes, periodMilliseconds: period))
            }
        }
        for (bytes, period) in [(64, 1000), (1_000_000, 1), (1_000_000_000, 1000), (1024, 1000)] as [(UInt64, UInt64)] {
            _ = try VirtioRng(sourcePath: "/dev/urandom", rate: .init(maximumBytes: bytes, periodMilliseconds: period))
        }
        #expect(
            EntropyError.badRate(maximumBytes: 1, periodMilliseconds: 2000).description
                == "-device virtio-rng-device: max-bytes=1 in period=2000 ms is not between 64 and 1000000000 bytes a second")
    }

    @Test func quota_givesSoManyBytesAPeriod_andTheTimerGoesOn() throws {
        let guest = try guest(rate: .init(maximumBytes: 100, periodMilliseconds: 1500))
        for head in 0..<4 as Range<UInt16> { try guest.offer(0, head: head, [.writable(place, 60)]) }
        let start = Clock.monotonicNanoseconds()
        guest.kick(0)
        #expect(try guest.newUsed(0).map(\.length) == [60, 40])
        // A guest that asks again and again gets no more, neither by a reset.
        for _ in 0..<20 { guest.kick(0) }
        #expect(try guest.newUsed(0).isEmpty)
        #expect(try waitForUsed(guest).map(\.length) == [60, 40])
        #expect(Clock.monotonicNanoseconds() - start >= 1_490_000_000)
        try guest.start(size: 64)
        try guest.offer(0, [.writable(place, 60)])
        guest.kick(0)
        #expect(try guest.newUsed(0).isEmpty)
        #expect(try waitForUsed(guest).map(\.length) == [60])
    }

    @Test func quotaArithmetic_isExactAtTheEdges() throws {
        var quota = try EntropyQuota(.init(maximumBytes: 1000, periodMilliseconds: 1000))
        #expect(quota.allowance(at: 5) == 1000)
        quota.spend(400)
        #expect(quota.allowance(at: 1_000_000_004) == 600)
        #expect(quota.wait(at: 1_000_000_004) == 1)
        quota.spend(600)
        #expect(quota.allowance(at: 1_000_000_004) == 0)
        #expect(quota.allowance(at: 1_000_000_005) == 1000)
        // Unused bytes are not carried over.
        #expect(quota.allowance(at: 9_000_000_000) == 1000)
        #expect(quota.wait(at: 99_000_000_000) == 0)
    }

    @Test func class5_sourceWithoutBytes_holdsNobodyUp_andIsAskedAgain() throws {
        // A pseudo-terminal is a character device that says what the test types.
        let pty = try PseudoTerminal()
        let terminal = try SysFile.open(pty.path, [.readWrite, .noControllingTerminal, .nonBlocking])
        try Terminal.disableProcessing(terminal)
        let guest = try guest(pty.path)
        try guest.offer(0, [.writable(place, 64)])
        // A device that waited for the source would wait without end.
        guest.kick(0)
        #expect(try guest.newUsed(0).isEmpty)
        _ = try pty.controller.write(Array("entropy".utf8))
        // What is there, not what was asked for.
        #expect(try waitForUsed(guest) == [UsedEntry(id: 0, length: 7)])
        #expect(try guest.bytes(place, 7) == Array("entropy".utf8))
    }

    @Test func sourceAtItsEnd_isNotAskedInALoop() throws {
        let guest = try guest("/dev/null")
        try guest.offer(0, [.writable(place, 64)])
        guest.kick(0)
        var turns = 0
        let end = Clock.monotonicNanoseconds() + 200_000_000
        while Clock.monotonicNanoseconds() < end {
            if guest.turn() { turns += 1 }
            Clock.sleep(nanoseconds: 1_000_000)
        }
        #expect(turns == 0)
        #expect(try guest.newUsed(0).isEmpty)
    }

    // MARK: Hostile guests

    @Test func class7_hugeRequests_areCapped() throws {
        let guest = try guest("/dev/zero")
        try guest.offer(0, [Buffer](repeating: .writable(place, 4 << 20), count: 60))
        guest.kick(0)
        #expect(try guest.newUsed(0) == [UsedEntry(id: 0, length: 65536)])
    }

    @Test func class10_requestsWithNothingToFill_comeBack() throws {
        let guest = try guest()
        for bad in [[Buffer.readable(place, 64)], [.writable(place, 0)], [.readable(place, 0)]] {
            try guest.offer(0, bad)
            guest.kick(0)
            #expect(try guest.newUsed(0) == [UsedEntry(id: 0, length: 0)])
        }
        #expect(guest.transport.statistics.droppedRequests == 3)
        try guest.offer(0, [.readable(place, 64), .writable(place, 64)])
        guest.kick(0)
        #expect(try guest.newUsed(0) == [UsedEntry(id: 0, length: 64)])
    }

    @Test func class11_resetWhileTheSourceIsAwaited_touchesNothingAfterwards() throws {
        let pty = try PseudoTerminal()
        let terminal = try SysFile.open(pty.path, [.readWrite, .noControllingTerminal, .nonBlocking])
        try Terminal.disableProcessing(terminal)
        let guest = try guest(pty.path)
        try guest.offer(0, [.writable(place, 64)])
        guest.kick(0)
        guest.write(.status, 0)
        let before = try guest.bytes(guest.rings[0].base, 0x4000)
        _ = try pty.controller.write([1, 2, 3])
        for _ in 0..<30 {
            guest.turn()
            Clock.sleep(nanoseconds: 2_000_000)
        }
        #expect(try guest.bytes(guest.rings[0].base, 0x4000) == before)
        #expect(try guest.bytes(place, 3) == [0, 0, 0])
        try guest.start(size: 64)
        try guest.offer(0, [.writable(place, 64)])
        guest.kick(0)
        #expect(try waitForUsed(guest) == [UsedEntry(id: 0, length: 3)])
    }

    @Test func class18_buffersOutsideOfRAM_andLoops_needReset() throws {
        for bad in [Buffer.writable(QueueGuest.ramSize, 64), .writable(.max - 8, 64), Buffer(address: place, length: 8, flags: Descriptor.write, next: 0)] {
            let guest = try guest()
            try guest.offer(0, [bad])
            guest.kick(0)
            #expect(guest.status.contains(.needsReset))
            try guest.start(size: 64)
            try guest.offer(0, [.writable(place, 64)])
            guest.kick(0)
            #expect(try guest.newUsed(0) == [UsedEntry(id: 0, length: 64)])
        }
    }

    @Test func class28_aFullQueueOfLargeRequests_takesSeveralTurns() throws {
        let guest = try guest("/dev/zero")
        for _ in 0..<64 { try guest.offer(0, [.writable(place, 65536)]) }
        guest.write(.queueNotify, 0)
        guest.turn()
        #expect(try guest.newUsed(0).count == 4)
        guest.serve()
        #expect(try guest.newUsed(0).count == 60)
    }
}
