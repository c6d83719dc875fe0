import Foundation
import LinuxSys
import Testing

/// Disks and network devices that come and go under a guest of a few instructions.
@Suite struct HotplugTests {
    private let folder: TemporaryFolder
    private let program: Program
    private let client: QMPClient
    /// Capacity of disk slot 1, low word; address and status of network slot 0.
    private static let watched: [UInt32] = [0xf010_0300, 0xf010_0900, 0xf010_0904]

    init() throws {
        folder = try TemporaryFolder()
        let kernel = try folder.write("payload.bin", Payload().mapDevices().print("go").printWordsOnInput(at: Self.watched).bytes)
        _ = try folder.image("disk.img", size: 1 << 20)
        _ = try folder.image("plug.img", size: 8 << 20)
        program = try Program(["-m", "128", "-kernel", kernel, "-drive", "file=disk.img,id=d,direct=off", "-device", "virtio-blk-device,drive=d",
                               "-qmp", "unix:q.sock,server,nowait", "-serial", "stdio"], in: folder)
        try program.waitForOutput("go")
        client = try QMPClient.greeted(path: folder.path("q.sock"))
    }

    /// What the guest reads now.
    private func words() throws -> [UInt32] {
        let before = program.outputBytes.count, size = Self.watched.count * 4
        program.type("x")
        try until("the guest answers") { program.outputBytes.count >= before + size }
        let bytes = program.outputBytes[before...]
        return stride(from: bytes.startIndex, to: bytes.endIndex, by: 4).map { start in (0..<4).reduce(0) { $0 | UInt32(bytes[start + $1]) << (8 * $1) } }
    }

    private static let node = "{\"node-name\":\"plug\",\"driver\":\"raw\",\"file\":{\"driver\":\"file\",\"filename\":\"plug.img\"},\"cache\":{\"direct\":false}}"
    private static let disk = "{\"id\":\"plug\",\"driver\":\"virtio-blk-mmio\",\"drive\":\"plug\",\"addr\":\"1\"}"

    @Test func disk_comesAndGoesTenTimes() throws {
        let before = ProcessFacts(id: program.processID).descriptors
        for _ in 0..<10 {
            #expect(try words()[0] == 0)
            try client.must("blockdev-add", Self.node)
            try client.must("device_add", Self.disk)
            #expect(try words()[0] == 16384)
            try client.must("device_del", "{\"id\":\"plug\"}")
            #expect(try client.event("DEVICE_DELETED")["device"] as? String == "plug")
            try client.must("blockdev-del", "{\"node-name\":\"plug\"}")
        }
        #expect(try words()[0] == 0)
        #expect(ProcessFacts(id: program.processID).descriptors.count == before.count)
        #expect(ProcessFacts(id: program.processID).residentKiB <= 4096)
    }

    @Test func limits_haveTheirSentences() throws {
        try client.must("blockdev-add", Self.node)
        #expect(try client.refused("blockdev-add", Self.node) != nil)
        for (address, sentence) in [("4", "device_add: argument 'addr' must be a slot from 0 to 3, not 4"), ("0", "block slot 0 is in use by device 'd'")] {
            #expect(try client.refused("device_add", Self.disk.replacingOccurrences(of: "\"1\"", with: "\"\(address)\"")) == sentence)
        }
        #expect(try client.refused("device_add", Self.disk.replacingOccurrences(of: "\"drive\":\"plug\"", with: "\"drive\":\"none\"")) != nil)
        #expect(try client.execute("device_del", "{\"id\":\"none\"}")["error"] as? QMPClient.Message != nil)
        try client.must("device_add", Self.disk)
        #expect(try client.refused("blockdev-del", "{\"node-name\":\"plug\"}")?.contains("is used by device 'plug'") == true)
        #expect(try words()[0] == 16384)
    }

    @Test(.enabled(if: Tap.isPossible)) func network_comesAndGoesTenTimes() throws {
        let before = ProcessFacts(id: program.processID).descriptors.count
        for _ in 0..<10 {
            let name = Tap.name()
            #expect(try words()[2] >> 16 == 0)
            try client.must("netdev_add", "{\"id\":\"n\",\"type\":\"tap\",\"ifname\":\"\(name)\"}")
            #expect(Tap.exists(name))
            try client.must("device_add", "{\"id\":\"n\",\"driver\":\"virtio-net-mmio\",\"netdev\":\"n\",\"addr\":\"0\"}")
            #expect(try words()[2] >> 16 == 1)
            try client.must("netlink_set", "{\"id\":\"n\",\"up\":false}")
            #expect(try words()[2] >> 16 == 0)
            try client.must("netlink_set", "{\"id\":\"n\",\"up\":true}")
            #expect(try words()[2] >> 16 == 1)
            try client.must("device_del", "{\"id\":\"n\"}")
            #expect(try client.event("DEVICE_DELETED")["device"] as? String == "n")
            try client.must("netdev_del", "{\"id\":\"n\"}")
            #expect(!Tap.exists(name))
        }
        #expect(ProcessFacts(id: program.processID).descriptors.count == before)
    }
}
