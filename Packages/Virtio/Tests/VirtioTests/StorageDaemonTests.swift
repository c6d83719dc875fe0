import AddressSpace
import Foundation
import HypervisorTesting
import LinuxSys
import Testing
@testable import Virtio

/// The real qemu-storage-daemon (Debian: qemu-system-common), driven by a guest that speaks virtio-blk.
@Suite(.serialized, .enabled(if: StorageDaemon.isAvailable, "needs qemu-storage-daemon"))
struct StorageDaemonTests {
    @Test func disk_isReadAndWritten() throws {
        let daemon = try StorageDaemon(sectors: 2048)
        defer { daemon.end() }
        let disk = try BlockGuest(daemon)
        #expect(disk.guest.config(0, 8) == 2048)
        #expect(disk.guest.config(34, 2) == 2)
        try disk.guest.start(queues: [0, 1])
        try disk.write(sector: 7, slot: 0)
        #expect(try disk.finished(1) == [0])
        #expect(try daemon.sector(7) == disk.content(7))
        #expect(disk.guest.status.isLive)
    }

    /// A queue full of writes at each death; the daemon is killed where it stands.
    @Test func killedAgainAndAgain_everyWriteIsDone() throws {
        let daemon = try StorageDaemon(sectors: 1 << 16)
        defer { daemon.end() }
        let disk = try BlockGuest(daemon)
        try disk.guest.start(queues: [0, 1])
        var free = Set(0..<disk.slots)
        var next: UInt64 = 0
        var waiting: [Int: UInt64] = [:]
        var done = 0
        for round in 0..<100 {
            if round % 20 == 10 { daemon.kill() }
            if round % 20 == 11 { try daemon.start() }
            for slot in free.sorted() {
                try disk.write(sector: next, slot: slot)
                waiting[slot] = next
                next += 1
            }
            free = []
            // Some of them; while nobody is there none.
            for slot in try disk.finished(round % 20 == 10 ? 0 : 5) {
                let found = waiting.removeValue(forKey: slot)
                let sector = try #require(found, "slot \(slot) ended twice")
                free.insert(slot)
                done += 1
                #expect(try daemon.sector(sector) == disk.content(sector))
            }
        }
        for slot in try disk.finished(waiting.count) { #expect(waiting.removeValue(forKey: slot) != nil) }
        #expect(waiting.isEmpty)
        #expect(done > 250)
        for sector in 0..<next { #expect(try daemon.sector(sector) == disk.content(sector)) }
        #expect(disk.guest.transport.statistics.resetsRequested == 0)
    }

    @Test func newSize_isNoticed_withTheNextDaemon() throws {
        let daemon = try StorageDaemon(sectors: 2048)
        defer { daemon.end() }
        let disk = try BlockGuest(daemon)
        try disk.guest.start(queues: [0])
        daemon.kill()
        try Data(count: 4096 * 512).write(to: URL(fileURLWithPath: daemon.image))
        try daemon.start()
        #expect(disk.guest.run(milliseconds: 20_000) { disk.guest.config(0, 8) == 4096 })
        #expect(disk.guest.read(.interruptStatus) & VirtioInterrupt.configurationChange != 0)
    }
}

final class StorageDaemon {
    static let path: String? = ["/usr/bin/qemu-storage-daemon", "/usr/local/bin/qemu-storage-daemon"].first { FileManager.default.isExecutableFile(atPath: $0) }
    /// In continuous integration its absence is a failure.
    static var isAvailable: Bool { getenv("CI") != nil || path != nil }

    let image = NSTemporaryDirectory() + "storage-" + UUID().uuidString
    var socket: String { image + ".socket" }
    private var control: String { image + ".control" }
    private var process = Process()

    init(sectors: Int) throws {
        try Data(count: sectors * 512).write(to: URL(fileURLWithPath: image))
        try start()
    }

    func start() throws {
        process = Process()
        process.executableURL = URL(fileURLWithPath: try #require(Self.path))
        process.arguments = [
            "--blockdev", "driver=file,node-name=disk,filename=\(image)", "--export",
            "type=vhost-user-blk,id=export,node-name=disk,addr.type=unix,addr.path=\(socket),writable=on,num-queues=2", "--chardev",
            "socket,id=control,path=\(control),server=on,wait=off", "--monitor", "chardev=control",
        ]
        process.standardError = FileHandle.nullDevice
        try process.run()
        // The device tries for a second only; a busy machine may take longer to start a program.
        for _ in 0..<2000 where !FileManager.default.fileExists(atPath: control) { Clock.sleep(nanoseconds: 10_000_000) }
    }

    func kill() {
        Glibc.kill(process.processIdentifier, SIGKILL)
        process.waitUntilExit()
        try? FileManager.default.removeItem(atPath: control)
    }

    func end() {
        kill()
        try? FileManager.default.removeItem(atPath: image)
        try? FileManager.default.removeItem(atPath: socket)
    }

    func sector(_ number: UInt64) throws -> [UInt8] {
        let file = try SysFile.open(image, .readOnly)
        var bytes = [UInt8](repeating: 0, count: 512)
        _ = try file.pread(into: &bytes, at: Int64(number) * 512)
        return bytes
    }
}

/// Writes sectors, each with a content of its own; a slot is a chain of three descriptors and the memory for it. Even slots are queue 0's.
struct BlockGuest {
    let guest: DeviceGuest
    let slots = 10
    private static let header: UInt64 = 0x10_0000
    private static let data: UInt64 = 0x1_0010_0000

    init(_ daemon: StorageDaemon) throws {
        let memory = try DeviceGuest.memory()
        let device = try VhostUserBlock.connect(.init(chardev: "c", path: daemon.socket, queues: 2, queueSize: 16), memory: memory.0.memory)
        guest = try DeviceGuest(device: device, on: memory)
    }

    func content(_ sector: UInt64) -> [UInt8] { (0..<512).map { UInt8(truncatingIfNeeded: sector >> UInt64(8 * ($0 % 4)) ^ UInt64($0 / 4)) } }

    func write(sector: UInt64, slot: Int) throws {
        let (header, data) = (Self.header + 64 * UInt64(slot), Self.data + 512 * UInt64(slot))
        try guest.memory.store(UInt32(1), at: header)
        try guest.memory.store(UInt32(0), at: header + 4)
        try guest.memory.store(sector, at: header + 8)
        try guest.memory.store(UInt8(0xff), at: header + 16)
        try guest.memory.write(at: data, bytes: content(sector))
        try guest.offer(slot % 2, [.readable(header, 16), .readable(data, 512), .writable(header + 16, 1)], first: UInt16(3 * (slot / 2)))
        guest.kick(slot % 2)
        guest.transport.serveQueue(slot % 2)
    }

    /// Slots whose writes have ended well, at least `count`.
    func finished(_ count: Int) throws -> [Int] {
        var ended: [Int] = []
        let came = try guest.run(milliseconds: 30_000) {
            for queue in 0..<2 { ended += try guest.newUsed(queue).map { Int($0.id) / 3 * 2 + queue } }
            return ended.count >= count
        }
        try #require(came, "\(ended.count) of \(count) requests ended")
        for slot in ended { #expect(try guest.memory.load(UInt8.self, at: Self.header + 64 * UInt64(slot) + 16) == 0) }
        return ended
    }
}
