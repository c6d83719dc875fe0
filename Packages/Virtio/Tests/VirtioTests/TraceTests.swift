import AddressSpace
import Foundation
import HypervisorTesting
import LinuxSys
import Testing
@testable import Virtio

/// What devices tell when somebody wants to know. The log and what is enabled belong to the process, so each test looks for names of its own.
@Suite(.serialized) struct TraceTests {
    /// The lines about `device` that `body` makes, from the event's name on.
    private func lines(_ events: String, about device: String, _ body: () throws -> Void) throws -> [String] {
        let path = FileManager.default.temporaryDirectory.appending(path: "trace-\(UUID().uuidString)").path(percentEncoded: false)
        try Log.configure(level: .error, path: path)
        defer {
            try? Log.configure(level: .warn, path: "/dev/stderr")
            try? FileManager.default.removeItem(atPath: path)
        }
        Trace.set(events, enabled: true)
        defer { Trace.set(events, enabled: false) }
        try body()
        return try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n").compactMap { line in
            line.components(separatedBy: ":TRACE: ").last.flatMap { $0.contains(device) ? $0 : nil }
        }
    }

    @Test func disk_tellsItsLifeAndItsRequests() throws {
        let guest = try Guest()
        let written = try lines("*", about: "disk") {
            try guest.start()
            try guest.writeHeader(RequestType.read, sector: 8)
            _ = try guest.request(RequestType.read, sector: 8, [.writable(Guest.Place.data, 512)])
            guest.write(.status, 0)
        }
        let names = written.map { String($0.prefix { $0 != ":" }) }
        let expected = [
            "virtio_reset", "virtio_status", "virtio_status", "virtio_features", "virtio_status", "virtio_status", "virtio_queue", "virtio_notify", "block_start",
            "block_end", "virtio_interrupt", "virtio_reset",
        ]
        // Others of this process have disks too; the order within is kept.
        var rest = names[...]
        for name in expected {
            guard let index = rest.firstIndex(of: name) else {
                Issue.record("no \(name) in its place: \(written)")
                return
            }
            rest = rest[(index + 1)...]
        }
        #expect(written.contains("virtio_queue: disk queue=0 size=256 descriptors=0x1000"))
        #expect(written.contains("block_start: disk read queue=0 offset=4096 bytes=512"))
        #expect(written.contains("block_end: disk queue=0 status=0 written=512"))
    }

    @Test func brokenQueue_isTold() throws {
        let guest = try Guest()
        let written = try lines("virtio_needs_reset", about: "disk") {
            try guest.start()
            try guest.memory.storeRelease16(0x4000, at: Guest.Place.available + 2)
            guest.serve()
        }
        #expect(written.contains("virtio_needs_reset: disk: the available index moved by 16384, more than the queue holds"))
    }

    @Test func network_tellsItsBatches() throws {
        let wire = try Wire()
        let guest = try NetGuest([wire])
        try guest.start()
        let written = try lines("net_*", about: "net") {
            try guest.post(4)
            wire.send(Frame.make(100))
            guest.run()
            _ = try guest.transmit(Frame.make(64), on: wire)
        }
        #expect(written.contains("net_receive: net buffers=1") && written.contains("net_transmit: net buffers=1"))
    }
}
