import AddressSpace
import BlockBackend
import Foundation
import HypervisorTesting
import LinuxSys
import Testing
@testable import Virtio

/// The block device over a real file, with every engine.
@Suite struct RawImageTests {
    private static func serve(_ guest: Guest, _ storage: RawImage, until used: UInt16) throws {
        guest.transport.serveQueue(0)
        let limit = Date(timeIntervalSinceNow: 20)
        while try guest.memory.loadAcquire16(at: Guest.Place.used + 2) != used, Date() < limit {
            guest.transport.serveEventSource(storage.completionFD)
            usleep(200)
        }
    }

    @Test(arguments: [RawImageOptions.Engine.auto, .threads, .native, .off]) func writeFlushRead_onAFile_roundTrips(engine: RawImageOptions.Engine) throws {
        let path = "/var/tmp/virtio-block-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: path) }
        let content = Data((0..<(1 << 20)).map { UInt8(truncatingIfNeeded: $0 >> 9) })
        try content.write(to: URL(fileURLWithPath: path))
        let storage = try RawImage.open(RawImageOptions(path: path, direct: engine == .native, engine: engine))
        let guest = try Guest(over: storage)
        try guest.start()
        // 40 requests at once: 20 writes of a sector each, then a flush, then reads.
        func send(_ type: UInt32, _ slot: Int, sector: UInt64, _ data: [Buffer]) throws {
            let header = Guest.Place.header + UInt64(slot) * 64
            try guest.writeHeader(type, sector: sector, at: header)
            try guest.memory.store(UInt8(0xff), at: header + 32)
            try guest.writeTable([.readable(header, 16)] + data + [.writable(header + 32, 1)], first: slot * 3)
            try guest.offer(UInt16(slot * 3))
        }
        for slot in 0..<20 {
            let place = Guest.Place.data + UInt64(slot) * 512
            try guest.fill(place, [UInt8](repeating: UInt8(200 + slot), count: 512))
            try send(RequestType.write, slot, sector: UInt64(slot * 5), [.readable(place, 512)])
        }
        try Self.serve(guest, storage, until: 20)
        try send(RequestType.flush, 20, sector: 0, [])
        try Self.serve(guest, storage, until: 21)
        for slot in 21..<41 { try send(RequestType.read, slot, sector: UInt64((slot - 21) * 5), [.writable(Guest.Place.data + UInt64(slot) * 512, 512)]) }
        try Self.serve(guest, storage, until: 41)
        for slot in 0..<41 { #expect(try guest.memory.load(UInt8.self, at: Guest.Place.header + UInt64(slot) * 64 + 32) == BlockStatus.ok) }
        for slot in 21..<41 {
            #expect(try guest.bytes(Guest.Place.data + UInt64(slot) * 512, 512) == [UInt8](repeating: UInt8(200 + slot - 21), count: 512))
        }
        let file = try Data(contentsOf: URL(fileURLWithPath: path))
        #expect(file[0] == 200 && file[5 * 512] == 201 && file[512] == 1)
        // A reset with requests in flight.
        for slot in 0..<20 { try send(RequestType.read, slot, sector: UInt64(slot), [.writable(Guest.Place.data, 512)]) }
        guest.transport.serveQueue(0)
        guest.write(.status, 0)
        #expect(try guest.start())
    }

    @Test func readOnlyImage_refusesWrites() throws {
        let path = FileManager.default.temporaryDirectory.appendingPathComponent("virtio-block-\(UUID().uuidString)").path
        defer { try? FileManager.default.removeItem(atPath: path) }
        try Data(repeating: 7, count: 8192).write(to: URL(fileURLWithPath: path))
        let storage = try RawImage.open(RawImageOptions(path: path, readOnly: true))
        let guest = try Guest(over: storage)
        let features = guest.offeredFeatures
        #expect(features & BlockFeature.readOnly != 0)
        try guest.start(features: features & ~BlockFeature.readOnly)
        #expect(try guest.request(RequestType.write, [.readable(Guest.Place.data, 512)]).status == BlockStatus.ioError)
        #expect(try Data(contentsOf: URL(fileURLWithPath: path)).allSatisfy { $0 == 7 })
    }
}
