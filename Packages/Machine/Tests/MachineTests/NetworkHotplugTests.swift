import Foundation
import LinuxSys
import MachineManager
import Testing
import Virtio

@testable import Machine

/// Network back ends and devices that come and go, and whose descriptors they are.
@Suite(.serialized) struct NetworkHotplugTests {
    /// Only root may make taps.
    static let isPossible = geteuid() == 0 && FileManager.default.isWritableFile(atPath: "/dev/net/tun")

    /// A descriptor that is given away; the other end tells when it is closed, which its number does not: others open files meanwhile.
    private final class Gift {
        let number: Int32
        private let far: OwnedFD

        init() throws {
            var ends: [Int32] = [-1, -1]
            // SAFETY: room for two numbers.
            let result = unsafe socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue), 0, &ends)
            try #require(result == 0)
            number = ends[0]
            far = OwnedFD(adopting: ends[1])
        }

        var isClosed: Bool {
            var byte: [UInt8] = [0]
            return (try? far.read(into: &byte)) == 0
        }
    }

    private func message(_ body: () throws -> Void) -> String? {
        do { try body() } catch { return "\(error)" }
        return nil
    }

    private func tap(_ id: String, interface: String? = nil, queues: Int = 1, vhost: Bool = false) -> VmConfig.Netdev {
        var tap = VmConfig.Netdev.Tap()
        tap.interface = interface
        tap.vhost = vhost
        return VmConfig.Netdev(id: id, queues: queues, backend: .tap(tap))
    }

    private func interface(_ suffix: String) -> String { "sm\(getpid())\(suffix)" }

    private func exists(_ suffix: String) -> Bool { FileManager.default.fileExists(atPath: "/sys/class/net/\(interface(suffix))") }

    @Test func descriptorsOfANetdevThatIsRefused_areClosed() throws {
        let fixture = try Fixture()
        fixture.config.netdevs.append(tap("taken", interface: "nowhere"))
        let machine = try fixture.started()
        defer { machine.shutDown() }
        func refuse(_ netdev: VmConfig.Netdev, taps: Int = 1, vhosts: Int = 0, _ reason: String) throws {
            let gifts = try (0..<taps).map { _ in try Gift() }, more = try (0..<vhosts).map { _ in try Gift() }
            let text = message { try machine.addNetdev(netdev, descriptors: gifts.map(\.number), vhostDescriptors: more.map(\.number)) }
            #expect(text?.contains(reason) == true, "\(text ?? "nothing")")
            for gift in gifts + more { #expect(gift.isClosed) }
        }
        try refuse(tap("taken"), taps: 2, vhosts: 2, "is used already")
        try refuse(tap("n"), "is not a tap")
        try refuse(tap("n", queues: 2), taps: 1, "descriptor")
        try refuse(tap("n", queues: 2, vhost: true), taps: 2, vhosts: 1, "vhost")
        try refuse(tap("n", vhost: true), vhosts: 1, "is not a tap")
        try refuse(tap("n", queues: 100), taps: 100, "queue")
        machine.requestQuit()
        try refuse(tap("n"), taps: 2, vhosts: 2, "shut down")
    }

    @Test(.enabled(if: isPossible)) func networkDevice_isPluggedAndUnpluggedAnyNumberOfTimes() throws {
        let fixture = try Fixture()
        let machine = try fixture.started()
        defer { machine.shutDown() }
        let mac = try #require(MACAddress("52:54:00:aa:bb:cc"))
        func shown() -> MACAddress {
            let transport = machine.networkSlots[1].transport
            return MACAddress(bits: (0..<6).reduce(UInt64(0)) { $0 << 8 | transport.read(offset: 0x100 + $1, size: 1) })
        }
        func isLinkUp() -> Bool { machine.networkSlots[1].transport.read(offset: 0x106, size: 2) == 1 }
        let own = shown()
        for round in 0..<10 {
            try machine.addNetdev(tap("net", interface: interface("a"), queues: 1 + round % 2), descriptors: [], vhostDescriptors: [])
            #expect(message { try machine.addNetdev(tap("net", interface: interface("b")), descriptors: [], vhostDescriptors: []) } == "the netdev id 'net' is used already")
            var device = VmConfig.VirtioNet(id: "nic", netdev: "net")
            device.mac = mac
            try machine.addDevice(.net(device, slot: 1))
            #expect(shown() == mac)
            #expect(isLinkUp())
            #expect(message { try machine.addDevice(.net(VmConfig.VirtioNet(id: "two", netdev: "net"), slot: 0)) } == "'net' is used by device 'nic' already")
            #expect(message { try machine.removeNetdev("net") } == "the netdev 'net' is used by device 'nic'")
            try machine.setLink("nic", up: false)
            #expect(!isLinkUp())
            try machine.removeDevice("nic")
            #expect(shown() == own)
            #expect(message { try machine.removeDevice("nic") } == "there is nothing with the id 'nic'")
            // The cable that was pulled was the old device's.
            try machine.addDevice(.net(VmConfig.VirtioNet(id: "nic", netdev: "net"), slot: 1))
            #expect(isLinkUp())
            try machine.removeDevice("nic")
            try machine.removeNetdev("net")
            #expect(!exists("a"))
        }
        #expect(fixture.events.all.filter { if case .deviceDeleted = $0 { true } else { false } }.count == 20)
    }

    @Test(.enabled(if: isPossible)) func machineThatEnds_letsGoOfTapsAndIOThreads() throws {
        let fixture = try Fixture()
        fixture.config.iothreads = [VmConfig.IOThread(id: "rx"), VmConfig.IOThread(id: "tx")]
        fixture.config.netdevs.append(tap("net", interface: interface("c"), queues: 2))
        var device = VmConfig.VirtioNet(id: "nic", netdev: "net")
        (device.rxIOThread, device.txIOThread, device.isMultiQueue) = ("rx", "tx", true)
        fixture.config.devices.append(.virtioNet(device))
        let machine = try fixture.started()
        #expect(machine.iothreads().map(\.id) == ["rx", "tx"])
        #expect(exists("c"))
        try machine.pause()
        try machine.removeDevice("nic")
        try machine.removeNetdev("net")
        #expect(!exists("c"))
        try machine.resume()
        machine.shutDown()
        machine.shutDown()
    }

    @Test func streamsOfASocket_comeAndGo() throws {
        let fixture = try Fixture()
        let machine = try fixture.started()
        defer { machine.shutDown() }
        func isLinkUp() -> Bool { machine.networkSlots[0].transport.read(offset: 0x106, size: 2) == 1 }
        func run(until condition: () -> Bool) -> Bool {
            for _ in 0..<2000 where !condition() { machine.loop.runOnce(timeoutMilliseconds: 5) }
            return condition()
        }
        let path = "/tmp/machine-stream-\(getpid()).sock"
        var stream = VmConfig.Netdev.Stream(address: .unix(path: path))
        stream.reconnect = 10
        let netdev = VmConfig.Netdev(id: "net", backend: .stream(stream))
        var once = stream
        once.reconnect = 0
        #expect(message { try machine.addNetdev(VmConfig.Netdev(id: "net", backend: .stream(once)), descriptors: [], vhostDescriptors: []) }
            == "-netdev net: cannot connect to '\(path)': No such file or directory")
        try machine.addNetdev(netdev, descriptors: [], vhostDescriptors: [])
        try machine.addDevice(.net(VmConfig.VirtioNet(id: "nic", netdev: "net"), slot: 0))
        #expect(!isLinkUp())
        let listener = try StreamSocket.listen(path: path)
        defer { try? SysFile.remove(path) }
        #expect(run { isLinkUp() })
        try machine.setLink("nic", up: false)
        #expect(!isLinkUp())
        try machine.setLink("nic", up: true)
        #expect(isLinkUp())
        do { _ = try StreamSocket.accept(listener) }
        #expect(run { !isLinkUp() })
        #expect(run { isLinkUp() })
        try machine.removeDevice("nic")
        try machine.removeNetdev("net")
        let told = fixture.events.all.filter { if case .deviceDeleted = $0 { false } else { true } }
        #expect(told.suffix(3) == [.streamConnected(id: "net", .unix(path: path)), .streamDisconnected(id: "net"), .streamConnected(id: "net", .unix(path: path))])
        // A peer that is there, given as a descriptor.
        let gift = try Gift()
        let given = VmConfig.Netdev(id: "given", backend: .stream(VmConfig.Netdev.Stream(address: .descriptor(.number(gift.number)))))
        try machine.addNetdev(given, descriptors: [gift.number], vhostDescriptors: [])
        #expect(!gift.isClosed)
        try machine.removeNetdev("given")
        #expect(gift.isClosed)
    }
}
