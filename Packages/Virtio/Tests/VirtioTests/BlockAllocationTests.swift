import AddressSpace
import BlockBackend
import CNetTestSupport
import Foundation
import HypervisorTesting
import LinuxSys
import Testing
@testable import Virtio

/// Requests take no memory once the device has what it needs: a guest cannot make the process allocate by asking more.
///
/// Optimized builds only (`swift test -c release -Xswiftc -enable-testing`): others allocate the frames of accessors.
@Suite(.enabled(if: nettest_allocations() > 0 && !_isDebugAssertConfiguration())) struct BlockAllocationTests {
    /// Allocations of this thread, which plays the event loop, for `count` requests in one wake.
    private func allocations(_ guest: Guest, _ storage: RawImage, _ count: Int, _ buffers: [Buffer]) throws -> Int {
        let target = guest.availableIndex &+ UInt16(count)
        for slot in 0..<count {
            try guest.writeTable(buffers, at: Guest.Place.table)
            try guest.writeTable([Buffer(address: Guest.Place.table, length: UInt32(buffers.count * 16), flags: Descriptor.indirect)], first: slot)
            try guest.offer(UInt16(slot))
        }
        let before = nettest_allocations()
        guest.transport.serveQueue(0)
        while try guest.memory.loadAcquire16(at: Guest.Place.used + 2) != target {
            guest.transport.serveEventSource(storage.completionFD)
        }
        return nettest_allocations() - before
    }

    @Test(arguments: [RawImageOptions.Engine.auto, .threads, .native, .off], [RequestType.read, RequestType.write, RequestType.flush, RequestType.identify, RequestType.writeZeroes, 99])
    func requests_takeNoMemory(engine: RawImageOptions.Engine, type: UInt32) throws {
        let path = "/var/tmp/virtio-block-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: path) }
        try Data(repeating: 7, count: 1 << 20).write(to: URL(fileURLWithPath: path))
        // Limits that are never reached are counted all the same; half of what is written is zeros.
        let limits = ThrottleLimits(requests: .init(total: .init(average: 1_000_000_000)), bytes: .init(read: .init(average: 1 << 50)))
        let storage = try RawImage.open(
            RawImageOptions(path: path, direct: engine == .native, engine: engine, zeroDetection: .on, throttle: limits))
        let guest = try Guest(options: .init(offersWriteZeroes: true), over: storage)
        try guest.start()
        try guest.writeHeader(type, sector: 8)
        try guest.writeRange(sector: 8, count: 8)
        let status = Buffer.writable(Guest.Place.status, 1), header = Buffer.readable(Guest.Place.header, 16)
        let pieces = (0..<24).map { Guest.Place.data + UInt64($0) * 4096 }
        let buffers: [Buffer] =
            switch type {
            case RequestType.read: [header] + pieces.map { .writable($0, 512) } + [status]
            case RequestType.write: [header] + pieces.map { .readable($0, 512) } + [status]
            case RequestType.identify: [header, .writable(Guest.Place.data, 20), status]
            case RequestType.writeZeroes: [header, .readable(Guest.Place.data, 16), status]
            default: [header, status]
            }
        // Slots, long vectors and threads are made when they are first needed.
        for _ in 0..<3 { _ = try allocations(guest, storage, 100, buffers) }
        let few = try allocations(guest, storage, 1, buffers), many = try allocations(guest, storage, 100, buffers)
        #expect(few == 0 && many == 0, "\(few) \(many)")
        #expect(try guest.memory.load(UInt8.self, at: Guest.Place.status) == (type == 99 ? BlockStatus.unsupported : BlockStatus.ok))
    }
}
