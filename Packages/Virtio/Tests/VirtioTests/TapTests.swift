import CNetTestSupport
import Glibc
import AddressSpace
import LinuxSys
import Synchronization
import Testing
@testable import Virtio

/// Real taps of this host; only root may make them. Names are unique to the process.
@Suite(.serialized) struct TapTests {
    /// In continuous integration their absence is a failure.
    static let isPossible = getenv("CI") != nil || geteuid() == 0 && access("/dev/net/tun", W_OK) == 0
    private static let filePath = "/tmp/no-tap-\(getpid())"
    private static let tap: Int32 = 0x0002
    private static let tun: Int32 = 0x0001
    private static let noPI: Int32 = 0x1000
    private static let header: Int32 = 0x4000
    private static let multiqueue: Int32 = 0x0100
    private static let good = tap | noPI | header

    private func name(_ suffix: String) -> String { "sv\(getpid())\(suffix)" }

    private func foreign(_ name: String, _ flags: Int32) throws -> Int32 {
        let descriptor = nettest_tap(name, flags)
        guard descriptor >= 0 else { throw Errno(-descriptor) }
        return descriptor
    }

    /// A descriptor that is no tap, of a file that nobody else opens.
    private func regularFile() throws -> Int32 {
        let descriptor = open(Self.filePath, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0, unlink(Self.filePath) == 0 else { throw Errno(errno) }
        return descriptor
    }

    /// This suite's open descriptors. Other suites open and close theirs meanwhile, but none of these files.
    private func openDescriptors() -> Int { descriptorCount(of: ["/dev/net/tun", Self.filePath + " (deleted)"]) }

    private func failure(_ options: TapOptions) -> NetError? {
        do throws(NetError) {
            _ = try NetBackend.openTap(options)
            return nil
        } catch { return error }
    }

    /// A socket on the host's side of the interface.
    private func socket(_ name: String) throws -> OwnedFD {
        guard nettest_up(name) == 0 else { throw Errno.io }
        let descriptor = nettest_socket(name)
        guard descriptor >= 0 else { throw Errno(-descriptor) }
        return OwnedFD(adopting: descriptor)
    }

    private func next(_ socket: borrowing OwnedFD) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: 70000)
        let count = read(socket.raw, &bytes, bytes.count)
        return count > 0 ? Array(bytes[..<count]) : nil
    }

    // MARK: Opening

    @Test(.enabled(if: isPossible)) func opened_byName_makesTheInterfaceAndLeavesNothing() throws {
        let name = name("a")
        let before = openDescriptors()
        do {
            let backend = try NetBackend.openTap(TapOptions(netdev: "n", name: name))
            #expect(backend.tap?.interface == name)
            #expect(backend.queueCount == 1)
            #expect(!backend.usesVhost)
            #expect(nettest_has_interface(name) == 1)
            #expect(failure(TapOptions(netdev: "n", name: name)) == .cannotAttach(netdev: "n", interface: name, Errno(EBUSY)))
        }
        #expect(nettest_has_interface(name) == 0)
        #expect(openDescriptors() == before)
    }

    @Test(.enabled(if: isPossible)) func opened_withQueues_isMultiqueue() throws {
        let name = name("b")
        let backend = try NetBackend.openTap(TapOptions(netdev: "n", name: name, queues: 4))
        #expect(backend.queueCount == 4)
        #expect(backend.isMultiQueue)
        #expect(Set(backend.queues.flatMap { [$0.receiveDescriptor, $0.transmitDescriptor] }).count == 8)
        let other = try NetBackend.openTap(TapOptions(netdev: "n", name: self.name("c"), path: "/dev/net/tun", queues: 16))
        #expect(other.queueCount == 16)
    }

    @Test(.enabled(if: isPossible)) func adopted_descriptors_areTheirInterface() throws {
        let name = name("d")
        let before = openDescriptors()
        do {
            let descriptors = [try foreign(name, Self.good | Self.multiqueue), try foreign(name, Self.good | Self.multiqueue)]
            let backend = try NetBackend.openTap(TapOptions(netdev: "n", descriptors: descriptors, queues: 2))
            #expect(backend.tap?.interface == name)
            #expect(backend.queues.map(\.receiveDescriptor) == descriptors)
            #expect(backend.isMultiQueue)
            for descriptor in descriptors {
                #expect(fcntl(descriptor, F_GETFL) & O_NONBLOCK != 0)
                #expect(fcntl(descriptor, F_GETFD) & FD_CLOEXEC != 0)
            }
            let single = try NetBackend.openTap(TapOptions(netdev: "n", descriptors: [try foreign(self.name("e"), Self.good)]))
            #expect(!single.isMultiQueue)
        }
        #expect(openDescriptors() == before)
    }

    @Test(.enabled(if: isPossible)) func adopted_wrongDescriptors_areNamedAndClosed() throws {
        let before = openDescriptors()
        func expect(_ descriptors: [Int32], _ expected: (Int32) -> NetError, _ message: String) {
            let bad = descriptors.last ?? -1
            let error = failure(TapOptions(netdev: "n", descriptors: descriptors, queues: descriptors.count))
            #expect(error == expected(bad))
            #expect(error?.description == "-netdev n: " + message.replacing("#", with: "\(bad)"))
            #expect(openDescriptors() == before)
        }
        let null = try regularFile()
        expect([null], { .notATap(netdev: "n", descriptor: $0, Errno(ENOTTY)) }, "descriptor # is not a tap: Inappropriate ioctl for device")
        expect([try EventFDNumber.make()], { .notATap(netdev: "n", descriptor: $0, Errno(ENOTTY)) }, "descriptor # is not a tap: Inappropriate ioctl for device")
        expect([9999], { .notATap(netdev: "n", descriptor: $0, .badDescriptor) }, "descriptor # is not a tap: Bad file descriptor")
        let unattached = open("/dev/net/tun", O_RDWR | O_CLOEXEC)
        expect([unattached], { .notATap(netdev: "n", descriptor: $0, Errno(EBADFD)) }, "descriptor # is not a tap: File descriptor in bad state")
        expect([try foreign(name("f"), Self.tun | Self.noPI | Self.header)], { .notATap(netdev: "n", descriptor: $0, nil) }, "descriptor # is a tun, not a tap")
        expect([try foreign(name("f"), Self.tap | Self.noPI)], { .noHeader(netdev: "n", descriptor: $0) }, "the tap of descriptor # was opened without IFF_VNET_HDR")
        expect(
            [try foreign(name("g"), Self.good | Self.multiqueue), try foreign(name("h"), Self.good)], { .notMultiQueue(netdev: "n", descriptor: $0) },
            "the tap of descriptor # was opened without IFF_MULTI_QUEUE")
        let (first, second) = (name("g"), name("h"))
        expect(
            [try foreign(first, Self.good | Self.multiqueue), try foreign(second, Self.good | Self.multiqueue)],
            { .otherInterface(netdev: "n", descriptor: $0, interface: second, expected: first) },
            "descriptor # is of interface '\(second)', the first one of '\(first)'")
    }

    @Test func options_outOfRange_areNamed() throws {
        let before = openDescriptors()
        func message(_ options: TapOptions) -> String? { failure(options)?.description }
        #expect(message(TapOptions(netdev: "n")) == "-netdev n: a tap needs ifname, fd or fds")
        for bad in ["", "sixteen-bytes-xx", "a b", "a/b", "a:b", "tap%d", ".", "..", "a\0b", "a\nb"] {
            #expect(failure(TapOptions(netdev: "n", name: bad)) == .badInterfaceName(netdev: "n", name: bad))
        }
        #expect(
            message(TapOptions(netdev: "n", name: "a/b")) == "-netdev n: 'a/b' is no interface name; it must have 1 to 15 bytes, no blank, '/' or ':'")
        for count in [-1, 0, 17, .max] { #expect(failure(TapOptions(netdev: "n", name: "t", queues: count)) == .queueCount(netdev: "n", count: count)) }
        #expect(message(TapOptions(netdev: "n", name: "t", queues: 17)) == "-netdev n: 17 queues are not possible; the limit is 16")
        #expect(message(TapOptions(netdev: "n", name: "t", path: "/nowhere/tun")) == "-netdev n: cannot open '/nowhere/tun': No such file or directory")
        #expect(failure(TapOptions(netdev: "n", name: "t", path: "/dev/net/tun\0")) == .cannotOpen(netdev: "n", path: "/dev/net/tun\0", .noEntry))
        let null = try regularFile()
        #expect(message(TapOptions(netdev: "n", descriptors: [null], queues: 2)) == "-netdev n: 1 descriptors were given for 2 queues")
        let twice = try regularFile()
        #expect(message(TapOptions(netdev: "n", descriptors: [twice, twice], queues: 2)) == "-netdev n: descriptor \(twice) is given twice")
        let both = try regularFile()
        #expect(failure(TapOptions(netdev: "n", descriptors: [both], vhost: .descriptors([both]))) == .duplicateDescriptor(netdev: "n", descriptor: both))
        let vhost = try regularFile()
        #expect(
            message(TapOptions(netdev: "n", name: "t", queues: 2, vhost: .descriptors([vhost]))) == "-netdev n: 1 vhost descriptors were given for 2 queues")
        #expect(openDescriptors() == before)
    }

    @Test(.enabled(if: isPossible)) func vhostDescriptors_thatAreNone_areNamedAndClosed() throws {
        let before = openDescriptors()
        let null = try regularFile()
        let error = failure(TapOptions(netdev: "n", name: name("i"), vhost: .descriptors([null])))
        #expect(error?.description == "-netdev n: descriptor \(null) is no vhost device: Inappropriate ioctl for device")
        let tap = try foreign(name("i"), Self.good)
        let pipe = try EventFDNumber.make()
        #expect(failure(TapOptions(netdev: "n", descriptors: [tap], vhost: .descriptors([pipe]))) != nil)
        #expect(openDescriptors() == before)
    }

    // MARK: Packets

    private func guest(_ backend: NetBackend, pairs: Int = 1) throws -> NetGuest {
        let guest = try NetGuest(pairs: pairs, multiqueue: pairs > 1)
        guest.device { $0.replaceBackend(backend) }
        try guest.start()
        try guest.post(200)
        return guest
    }

    private func transmit(_ guest: NetGuest, _ frame: [UInt8], header: [UInt8] = [UInt8](repeating: 0, count: 12)) throws {
        try guest.memory.write(at: NetGuest.data, bytes: header + frame)
        try guest.add(1, [.readable(NetGuest.data, 12), .readable(NetGuest.data + 12, UInt32(frame.count))])
        guest.kick(1)
        _ = try guest.newUsed(1)
    }

    @Test(.enabled(if: isPossible)) func packets_goThroughARealTapBothWays() throws {
        let name = name("j")
        let guest = try guest(try NetBackend.openTap(TapOptions(netdev: "n", name: name)))
        let socket = try socket(name)
        for count in [60, 1514] {
            let frame = Frame.make(count, to: Frame.other)
            try transmit(guest, frame)
            #expect(next(socket) == frame)
            let back = Frame.make(count, seed: 3)
            #expect(write(socket.raw, back, back.count) == back.count)
            guest.run()
            let used = try guest.newUsed(0)
            #expect(used.count == 1)
            #expect(try guest.packet(used) == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0] + back)
        }
        // The kernel refuses nonsense in the header, and a frame for an interface that is down; the queue goes on.
        try transmit(guest, Frame.make(60), header: [1, 1, 255, 255, 255, 255, 255, 255, 255, 255, 0, 0])
        #expect(next(socket) == nil)
        #expect(nettest_down(name) == 0)
        try transmit(guest, Frame.make(60))
        #expect(nettest_up(name) == 0)
        // The socket says that it was down.
        _ = next(socket)
        #expect(guest.device { $0.pairs[0].transmitter.refusedPackets.load(ordering: .relaxed) } == 2)
        try transmit(guest, Frame.make(60))
        #expect(next(socket) == Frame.make(60))
    }

    @Test(.enabled(if: isPossible)) func oneOfManyQueues_getsAllPacketsUntilTheDriverAsksForMore() throws {
        let name = name("k")
        let guest = try guest(try NetBackend.openTap(TapOptions(netdev: "n", name: name, queues: 4)), pairs: 4)
        for pair in 1..<4 { try guest.post(60, queue: 2 * pair) }
        let socket = try socket(name)
        func send(_ count: Int) throws -> [Int] {
            // IPv4 UDP of many flows, so that they spread.
            for flow in 0..<count {
                var frame = Frame.make(60)
                frame.replaceSubrange(12..<38, with: [8, 0, 0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, UInt8(flow), 9, 0, 7])
                #expect(write(socket.raw, frame, frame.count) == frame.count)
                guest.run(rounds: 3)
            }
            return try (0..<4).map { pair in
                let used = try guest.newUsed(2 * pair)
                for entry in used { try guest.offer(2 * pair, head: UInt16(entry.id)) }
                guest.notify(2 * pair)
                return used.count
            }
        }
        #expect(try send(32) == [32, 0, 0, 0])
        #expect(try guest.control([4, 0, 4, 0]) == 0)
        let spread = try send(32)
        #expect(spread.reduce(0, +) == 32)
        #expect(spread.filter { $0 > 0 }.count > 1)
        #expect(try guest.control([4, 0, 2, 0]) == 0)
        let two = try send(32)
        #expect(two[0] + two[1] == 32)
        // A slot of one pair takes a tap of four queues too.
        let small = try NetGuest()
        let second = self.name("l")
        small.device { device in device.replaceBackend(try? NetBackend.openTap(TapOptions(netdev: "n", name: second, queues: 4))) }
        try small.start()
        try small.post(60)
        let other = try self.socket(second)
        for flow in 0..<20 {
            var frame = Frame.make(60)
            frame[40] = UInt8(flow)
            #expect(write(other.raw, frame, frame.count) == frame.count)
        }
        small.run()
        #expect(try small.newUsed(0).count == 20)
    }

    @Test(.enabled(if: isPossible)) func queuesThatWereOutOfUse_areInUseAgain_whenTheTapIsPluggedAnew() throws {
        let name = name("q")
        let backend = try NetBackend.openTap(TapOptions(netdev: "n", name: name, queues: 2))
        // The driver begins with one pair: the tap's second queue goes out of use.
        let guest = try guest(backend, pairs: 2)
        guest.device { $0.replaceBackend(nil) }
        for pair in 0..<2 { try guest.post(60, queue: 2 * pair) }
        #expect(try guest.control([4, 0, 2, 0]) == 0)
        guest.device { $0.replaceBackend(backend) }
        let socket = try socket(name)
        for flow in 0..<32 {
            var frame = Frame.make(60)
            frame.replaceSubrange(12..<38, with: [8, 0, 0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, UInt8(flow), 9, 0, 7])
            #expect(write(socket.raw, frame, frame.count) == frame.count)
            guest.run(rounds: 3)
        }
        let spread = try (0..<2).map { try guest.newUsed(2 * $0).count }
        #expect(spread.reduce(0, +) == 32 && spread[0] > 0 && spread[1] > 0, "\(spread)")
    }

    @Test(.enabled(if: isPossible)) func interfaceThatIsDeleted_isLeftAlone() throws {
        // The interface goes when its persistent owner's last descriptor does not exist any more, which cannot be had while one is open; a queue that is out of
        // use fails in the same way.
        let name = name("m")
        let backend = try NetBackend.openTap(TapOptions(netdev: "n", name: name, queues: 2))
        let guest = try guest(backend)
        guest.run()
        try backend.queues[0].setEnabled(false)
        guest.run()
        let start = Clock.monotonicNanoseconds()
        guest.loop.runOnce(timeoutMilliseconds: 50)
        #expect(Clock.monotonicNanoseconds() - start > 30_000_000)
        try transmit(guest, Frame.make(60))
        #expect(guest.device { $0.pairs[0].transmitter.refusedPackets.load(ordering: .relaxed) } == 1)
    }

    @Test(.enabled(if: isPossible)) func pluggedTaps_leakNothing() throws {
        let guest = try NetGuest()
        try guest.start()
        let before = openDescriptors()
        for round in 0..<50 {
            let name = name("n")
            let backend = try NetBackend.openTap(TapOptions(netdev: "n", name: name, queues: 1 + round % 3))
            guest.device { $0.replaceBackend(backend) }
            guest.run(rounds: 2)
            guest.device { $0.replaceBackend(nil) }
        }
        #expect(openDescriptors() == before)
        #expect(nettest_has_interface(name("n")) == 0)
    }
}

private enum EventFDNumber {
    /// Some descriptor that is no device.
    static func make() throws -> Int32 {
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else { throw Errno(errno) }
        close(ends[1])
        return ends[0]
    }
}
