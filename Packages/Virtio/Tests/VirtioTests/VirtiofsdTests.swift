import AddressSpace
import Foundation
import HypervisorTesting
import LinuxSys
import Testing
@testable import Virtio

/// The real virtiofsd (Debian: /usr/lib/qemu/virtiofsd of qemu-system-common, or /usr/libexec/virtiofsd), driven by a guest that speaks FUSE. It needs root.
@Suite(.serialized, .enabled(if: Virtiofsd.isAvailable, "needs virtiofsd and root"))
struct VirtiofsdTests {
    @Test func fuseSession_readsAndWritesTheSharedFolder() throws {
        let daemon = try Virtiofsd()
        defer { daemon.end() }
        try daemon.write("hello", Array("from the host\n".utf8))
        let fuse = try FUSEGuest(daemon)
        try fuse.initialize()
        // LOOKUP in the root, OPEN, READ.
        let entry = try fuse.request(opcode: 1, node: 1, Array("hello\0".utf8), answer: 128)
        #expect(entry.error == 0)
        let node = long(entry.payload, 0)
        let open = try fuse.request(opcode: 14, node: node, [UInt8](repeating: 0, count: 8), answer: 16)
        #expect(open.error == 0)
        let handle = Array(open.payload[0..<8])
        let read = try fuse.request(opcode: 15, node: node, handle + bytes(0, 8) + bytes(4096, 4) + [UInt8](repeating: 0, count: 20), answer: 4096)
        #expect(read.error == 0)
        #expect(String(decoding: read.payload.prefix(Int(read.length) - 16), as: UTF8.self) == "from the host\n")
        // CREATE (O_CREAT | O_RDWR, 0644) and WRITE.
        let create = try fuse.request(
            opcode: 35, node: 1, bytes(0o102, 4) + bytes(0o100644, 4) + bytes(0, 8) + Array("answer\0".utf8), answer: 144)
        #expect(create.error == 0)
        let text = Array("from the guest\n".utf8)
        let new = Array(create.payload[128..<136])
        let written = try fuse.request(
            opcode: 16, node: long(create.payload, 0), new + bytes(0, 8) + bytes(UInt64(text.count), 4) + [UInt8](repeating: 0, count: 20) + text, answer: 8)
        #expect(written.error == 0)
        #expect(daemon.read("answer") == text)
        // A name that leads out of the folder (class 23) is refused by the daemon, not by us.
        let escape = try fuse.request(opcode: 1, node: 1, Array("../etc\0".utf8), answer: 128)
        #expect(escape.error < 0)
        #expect(fuse.guest.status.isLive)
    }

    @Test func resetAndStartAgain_keepsTheDaemon() throws {
        let daemon = try Virtiofsd()
        defer { daemon.end() }
        let fuse = try FUSEGuest(daemon)
        for _ in 0..<5 { try fuse.initialize() }
        // A reset with requests waiting.
        for first in 0..<4 as Range<UInt16> {
            try fuse.guest.offer(1, fuse.chain(opcode: 3, node: 1, [UInt8](repeating: 0, count: 16), answer: 104, slot: Int(first)), first: 4 * first)
        }
        fuse.guest.kick(1)
        fuse.guest.write(.status, 0)
        try fuse.initialize()
        #expect(fuse.guest.transport.statistics.resetsRequested == 0)
    }

    @Test func daemonThatDies_costsTheDeviceOnly() throws {
        let daemon = try Virtiofsd()
        let fuse = try FUSEGuest(daemon)
        try fuse.initialize()
        daemon.end()
        #expect(fuse.guest.run(milliseconds: 10_000) {
            fuse.guest.transport.serveResetRequest()
            return fuse.guest.status.contains(.needsReset)
        })
        fuse.guest.write(.status, 0)
        #expect(fuse.guest.status.rawValue == 0)
    }

    @Test func class10_chainsThatMakeNoSense_areTheDaemonsToRefuse() throws {
        let daemon = try Virtiofsd()
        defer { daemon.end() }
        let fuse = try FUSEGuest(daemon)
        try fuse.initialize()
        // A loop, a descriptor beyond the table, a buffer outside of RAM: whatever the daemon does about it, a reset and a new session still end well.
        let table = fuse.guest.place(1).descriptorTable
        try fuse.guest.offer(1, [Buffer(address: 0x4000_0000, length: 64), .writable(0xffff_ffff_ffff_0000, 4096)])
        try fuse.guest.memory.store(UInt16(Descriptor.next), at: table + 12)
        try fuse.guest.memory.store(UInt16(0), at: table + 14)
        fuse.guest.kick(1)
        _ = fuse.guest.run(milliseconds: 100) { fuse.guest.status.contains(.needsReset) }
        fuse.guest.write(.status, 0)
        #expect(fuse.guest.status.rawValue == 0)
        try fuse.guest.start(queues: [0, 1])
    }
}

/// A daemon that shares a folder of its own.
final class Virtiofsd {
    static let path: String? = ["/usr/lib/qemu/virtiofsd", "/usr/libexec/virtiofsd", "/usr/lib/virtiofsd"].first {
        FileManager.default.isExecutableFile(atPath: $0)
    }
    /// In continuous integration its absence is a failure.
    static var isAvailable: Bool { getenv("CI") != nil || path != nil && geteuid() == 0 }

    let folder: String
    var socket: String { folder + ".socket" }
    private let process = Process()

    init() throws {
        folder = NSTemporaryDirectory() + "virtiofsd-" + UUID().uuidString
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        process.executableURL = URL(fileURLWithPath: try #require(Self.path))
        // The namespaces of the default sandbox need more than a container may have.
        process.arguments =
            Self.path == "/usr/lib/qemu/virtiofsd"
            ? ["--socket-path=\(socket)", "-o", "source=\(folder)", "-o", "sandbox=chroot", "-o", "log_level=err", "-f", "--rlimit-nofile=0"]
            : ["--socket-path=\(socket)", "--shared-dir=\(folder)", "--sandbox=chroot", "--log-level=error"]
        process.standardError = FileHandle.nullDevice
        try process.run()
        // The device tries for a second only; a busy machine may take longer to start a program.
        for _ in 0..<2000 where !FileManager.default.fileExists(atPath: socket) { Clock.sleep(nanoseconds: 10_000_000) }
    }

    func end() {
        // It would wait for the front end to hang up before it obeyed SIGTERM.
        kill(process.processIdentifier, SIGKILL)
        process.waitUntilExit()
        try? FileManager.default.removeItem(atPath: folder)
        try? FileManager.default.removeItem(atPath: socket)
    }

    func write(_ name: String, _ bytes: [UInt8]) throws { try Data(bytes).write(to: URL(fileURLWithPath: folder + "/" + name)) }
    func read(_ name: String) -> [UInt8]? { FileManager.default.contents(atPath: folder + "/" + name).map { Array($0) } }
}

/// Speaks FUSE over the first request queue (linux/fuse.h), a request at a time.
struct FUSEGuest {
    struct Answer {
        var length: UInt32
        var error: Int32
        var payload: [UInt8]
    }

    let guest: DeviceGuest
    private static let input: UInt64 = 0x10_0000
    private static let output: UInt64 = 0x1_0010_0000

    init(_ daemon: Virtiofsd) throws {
        let memory = try DeviceGuest.memory()
        let device = try VhostUserFileSystem.connect(path: daemon.socket, tag: "shared", memory: memory.0.memory)
        guest = try DeviceGuest(device: device, on: memory)
    }

    /// Resets the device, starts it, and negotiates FUSE 7.31.
    func initialize() throws {
        try #require(try guest.start(queues: [0, 1]))
        let answer = try request(opcode: 26, node: 0, bytes(7, 4) + bytes(31, 4) + bytes(1 << 17, 4) + bytes(0, 4), answer: 64)
        #expect(answer.error == 0)
        #expect(answer.length >= 16 + 24)
        #expect(long(answer.payload, 0) & 0xffff_ffff == 7)
    }

    /// Header and body in low memory, the answer in high memory.
    func chain(opcode: UInt32, node: UInt64, _ body: [UInt8], answer: UInt32, slot: Int = 0) throws -> [Buffer] {
        let place = UInt64(slot) * 0x4000
        let header = bytes(UInt64(40 + body.count), 4) + bytes(UInt64(opcode), 4) + bytes(7, 8) + bytes(node, 8) + [UInt8](repeating: 0, count: 16)
        try guest.memory.write(at: Self.input + place, bytes: header + body)
        try guest.memory.fill(at: Self.output + place, count: UInt64(answer) + 16)
        return [
            .readable(Self.input + place, 40), .readable(Self.input + place + 40, UInt32(body.count)),
            .writable(Self.output + place, 16), .writable(Self.output + place + 16, answer),
        ]
    }

    func request(opcode: UInt32, node: UInt64, _ body: [UInt8], answer: UInt32) throws -> Answer {
        try guest.offer(1, chain(opcode: opcode, node: node, body, answer: answer))
        guest.kick(1)
        var used: [UsedEntry] = []
        let came = try guest.run(milliseconds: 20_000) {
            used = try guest.newUsed(1)
            return !used.isEmpty
        }
        try #require(came, "no answer to opcode \(opcode)")
        // The daemon interrupts the guest itself, after the used entry.
        var interrupts = guest.line.takeEvents()
        guest.run(milliseconds: 10_000) {
            interrupts += guest.line.takeEvents()
            return interrupts > 0
        }
        #expect(interrupts > 0)
        let head = try guest.memory.bytes(at: Self.output, count: 16)
        #expect(long(head, 8) == 7)
        return Answer(
            length: UInt32(long(head, 0) & 0xffff_ffff), error: Int32(truncatingIfNeeded: long(head, 0) >> 32),
            payload: try guest.memory.bytes(at: Self.output + 16, count: UInt64(answer)))
    }
}

/// Little endian.
private func bytes(_ value: UInt64, _ count: Int) -> [UInt8] { (0..<count).map { UInt8(truncatingIfNeeded: value >> UInt64(8 * $0)) } }

private func long(_ bytes: [UInt8], _ offset: Int) -> UInt64 { (0..<8).reduce(0) { $0 | UInt64(bytes[offset + $1]) << UInt64(8 * $1) } }
