import AddressSpace
import CNetTestSupport
import LinuxSys
import Testing
@testable import Virtio

/// The balloon takes no memory once a driver runs: a guest cannot make the process allocate by giving pages, nor by reporting them.
///
/// Optimized builds only (`swift test -c release -Xswiftc -enable-testing`): others allocate the frames of accessors.
@Suite(.enabled(if: nettest_allocations() > 0 && !_isDebugAssertConfiguration())) struct BalloonAllocationTests {
    private static let list = BalloonTests.list

    /// Allocations of this thread, which plays the event loop, for `count` requests.
    private func allocations(_ guest: QueueGuest, _ queue: Int, _ count: Int, _ buffers: [Buffer]) throws -> Int {
        for slot in 0..<count { try guest.offer(queue, head: UInt16(slot * buffers.count), buffers) }
        guest.write(.queueNotify, UInt32(queue))
        let before = nettest_allocations()
        for _ in 0..<20 { guest.transport.serveQueue(queue) }
        let after = nettest_allocations()
        #expect(try guest.newUsed(queue).count == count)
        return after - before
    }

    @Test(arguments: [BalloonTests.Queue.inflate, BalloonTests.Queue.deflate, BalloonTests.Queue.reporting]) func requests_takeNoMemory(queue: Int) throws {
        let (guest, _) = try BalloonTests.guest(.init(reportsFreePages: true))
        // Every other page of 2 MiB from the top down: as many runs as there are numbers.
        for index in 0..<256 as Range<UInt64> { try guest.memory.store(BalloonTests.firstPage + 510 - 2 * UInt32(index), at: Self.list + index * 4) }
        let data = BalloonTests.data
        let buffers: [Buffer] =
            queue == BalloonTests.Queue.reporting ? [.writable(data, 8192), .writable(data + 0x10_0000, 0x10_0000)] : [.readable(Self.list, 1024)]
        for _ in 0..<3 { _ = try allocations(guest, queue, 8, buffers) }
        let few = try allocations(guest, queue, 1, buffers), many = try allocations(guest, queue, 30, buffers)
        #expect(few == 0 && many == 0, "\(few) \(many)")
    }
}
