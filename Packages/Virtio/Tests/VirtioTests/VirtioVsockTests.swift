import AddressSpace
import Glibc
import LinuxSys
import Testing
@testable import Virtio

@Suite struct VirtioVsockTests {
    private func pattern(_ count: Int, _ seed: Int = 0) -> [UInt8] { (0..<count).map { UInt8(truncatingIfNeeded: ($0 &+ seed) &* 31 ^ (($0 &+ seed) >> 8)) } }

    // MARK: What the guest and the host see

    @Test func identity_isASocketDeviceWithItsCID() throws {
        let vsock = try VsockGuest()
        #expect(vsock.guest.read(.deviceID) == 19)
        #expect(vsock.guest.config(0, 8) == 3)
        #expect(vsock.guest.config(8, 8) == 0)
        vsock.guest.transport.write(offset: MMIORegister.config, size: 8, value: 9)
        #expect(vsock.guest.config(0, 8) == 3)
        // No SEQPACKET.
        #expect(vsock.guest.offeredFeatures == 1 << 28 | 1 << 29 | 1 << 32)
        for index in 0..<4 {
            vsock.guest.write(.queueSelect, UInt32(index))
            #expect(vsock.guest.read(.queueSizeMaximum) == (index < 3 ? 256 : 0))
        }
    }

    @Test func socketFile_isPrivateReplacesAStaleOneAndGoesWithTheDevice() throws {
        let folder = try VsockGuest.makeFolder()
        defer { rmdir(folder) }
        let path = folder + "/s"
        // Somebody died without removing it.
        do {
            var address = sockaddr_un()
            address.sun_family = sa_family_t(AF_UNIX)
            withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: Array(path.utf8)) }
            let socket = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
            let result = withUnsafePointer(to: &address) { $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(socket, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) } }
            #expect(result == 0)
            close(socket)
        }
        var device: VirtioVsock? = try VirtioVsock.listen(guestCID: 3, path: path)
        var status = stat()
        #expect(lstat(path, &status) == 0)
        #expect(status.st_mode & 0o777 == 0o600)
        #expect(throws: VirtioVsockError.cannotListen(path: path, .addressInUse)) { try VirtioVsock.listen(guestCID: 4, path: path) }
        #expect(device?.guestCID == 3)
        device = nil
        #expect(lstat(path, &status) != 0)
    }

    @Test func errors_sayWhatToChange() throws {
        func message(_ cid: UInt64, _ path: String) -> String {
            do {
                _ = try VirtioVsock.listen(guestCID: cid, path: path)
                return "no error"
            } catch { return error.description }
        }
        for cid in [0, 1, 2, 0xffff_ffff, 1 << 32, .max] as [UInt64] {
            #expect(message(cid, "/tmp/x") == "-device virtio-vsock-device: guest-cid= must be a number from 3 to 4294967294, not '\(cid)'")
        }
        #expect(message(3, "/no/folder") == "-device virtio-vsock-device: cannot listen on '/no/folder': No such file or directory")
        let long = "/tmp/" + String(repeating: "x", count: 92)
        #expect(message(3, long) == "-device virtio-vsock-device: path= is longer than 96 bytes, so that '_PORT' does not fit behind it")
    }

    // MARK: Connections

    @Test func hostConnects_andBothTalk() throws {
        let vsock = try VsockGuest()
        try vsock.start()
        let (socket, port) = try vsock.connectFromHost(port: 52)
        #expect(port == VsockGuest.first)
        vsock.write(socket, "hello")
        let packet = try vsock.one()
        #expect(packet.operation == .data && packet.data == Array("hello".utf8))
        #expect(packet.header.sourceCID == 2 && packet.header.sourcePort == port && packet.header.destinationPort == 52 && packet.header.type == 1)
        #expect(packet.header.bufferSize == 64 << 10 && packet.header.forwarded == 0)
        try vsock.send(.data, guest: 52, host: port, Array("world".utf8))
        #expect(vsock.text(socket) == "world")
        #expect(try vsock.received().isEmpty)
        // What the host has is told with the next packet.
        vsock.write(socket, "!")
        #expect(try vsock.one().header.forwarded == 5)
    }

    @Test func dataRightBehindTheLine_isTheGuests() throws {
        let vsock = try VsockGuest()
        try vsock.start()
        let socket = try vsock.program("CONNECT 7\nearly")
        let request = try vsock.one()
        #expect(request.operation == .request)
        try vsock.send(.response, guest: 7, host: request.header.sourcePort)
        #expect(try vsock.one().data == Array("early".utf8))
        #expect(vsock.text(socket) == "OK \(request.header.sourcePort)\n")
    }

    @Test func lineInPieces_isOneLine() throws {
        let vsock = try VsockGuest()
        try vsock.start()
        let socket = try vsock.program()
        for piece in ["CON", "NECT", " ", "99", "9"] {
            vsock.write(socket, piece)
            #expect(try vsock.received().isEmpty)
        }
        vsock.write(socket, "\n")
        #expect(try vsock.one().header.destinationPort == 999)
    }

    @Test func guestConnects_andBothTalk() throws {
        let vsock = try VsockGuest()
        try vsock.start()
        let listener = try vsock.listen(port: 52)
        let socket = try vsock.connectFromGuest(port: 1000, host: 52, listener: listener)
        try vsock.send(.data, guest: 1000, host: 52, Array("from the guest".utf8))
        #expect(vsock.text(socket) == "from the guest")
        vsock.write(socket, "from the host")
        #expect(try vsock.one().data == Array("from the host".utf8))
        // As many as the guest likes, told apart by its ports.
        let second = try vsock.connectFromGuest(port: 1001, host: 52, listener: listener)
        try vsock.send(.data, guest: 1001, host: 52, [2])
        try vsock.send(.data, guest: 1000, host: 52, [1])
        #expect(vsock.read(socket) == [1] && vsock.read(second) == [2])
        #expect(vsock.connectionCount == 2)
    }

    @Test func nobodyListensOnTheHost_isAReset() throws {
        let vsock = try VsockGuest()
        try vsock.start()
        for port in [52, 0, .max] as [UInt32] {
            try vsock.send(.request, guest: 1000, host: port)
            let packet = try vsock.one()
            #expect(packet.operation == .reset)
            #expect(packet.header.sourceCID == 2 && packet.header.sourcePort == port && packet.header.destinationPort == 1000)
        }
        #expect(vsock.connectionCount == 0)
    }

    @Test func nobodyListensInTheGuest_endsTheProgramsConnection() throws {
        let vsock = try VsockGuest()
        try vsock.start()
        let socket = try vsock.program("CONNECT 52\n")
        let request = try vsock.one()
        try vsock.send(.reset, guest: 52, host: request.header.sourcePort)
        #expect(vsock.read(socket) == nil)
        #expect(vsock.connectionCount == 0)
        #expect(try vsock.received().isEmpty)
    }

    @Test func portsOfTheHost_areNeverUsedTwiceInARow_norThoseThatLive() throws {
        let vsock = try VsockGuest()
        try vsock.start()
        var ports: Set<UInt32> = []
        for _ in 0..<20 {
            let (socket, port) = try vsock.connectFromHost()
            #expect(ports.insert(port).inserted)
            vsock.close(socket)
            #expect(try vsock.one().operation == .shutdown)
            try vsock.send(.reset, guest: 52, host: port)
        }
        // The guest has taken the next one for a connection of its own.
        let next = VsockGuest.first + 20
        let listener = try vsock.listen(port: next)
        _ = try vsock.connectFromGuest(port: 52, host: next, listener: listener)
        #expect(try vsock.connectFromHost().port == next + 1)
    }

    @Test func hostPorts_skipWhatLives() throws {
        let (near, far) = try Self.pair()
        defer { close(far) }
        var table = VsockTable(limit: 4)
        let added = table.add(OwnedFD(adopting: near))
        let connection = try #require(added)
        let isNew = table.setPorts(of: connection, host: (1 << 30) + 1, guest: 9)
        let ports = (0..<2).map { _ in table.takeHostPort() }
        #expect(isNew)
        #expect(ports == [1 << 30, (1 << 30) + 2])
    }

    private static func pair() throws -> (Int32, Int32) {
        var ends: [Int32] = [-1, -1]
        try #require(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue), 0, &ends) == 0)
        return (ends[0], ends[1])
    }

    // MARK: Ends

    @Test func programThatSendsNoMore_halfClosesAndStillReads() throws {
        let vsock = try VsockGuest()
        try vsock.start()
        let (socket, port) = try vsock.connectFromHost()
        vsock.write(socket, "last")
        shutdown(socket, Int32(SHUT_WR))
        let packets = try vsock.received()
        #expect(packets.map(\.operation) == [.data, .shutdown])
        #expect(packets.last?.header.flags == VsockShutdown.send.rawValue)
        for _ in 0..<3 {
            try vsock.send(.data, guest: 52, host: port, Array("answer".utf8))
            #expect(vsock.text(socket) == "answer")
        }
        // Now the guest closes, which is a shutdown of both that a reset answers.
        try vsock.send(.shutdown, guest: 52, host: port, flags: 3)
        #expect(try vsock.one().operation == .reset)
        #expect(vsock.read(socket) == nil)
        #expect(vsock.connectionCount == 0)
    }

    @Test func guestThatSendsNoMore_halfClosesAndStillReads() throws {
        let vsock = try VsockGuest()
        try vsock.start()
        let listener = try vsock.listen(port: 52)
        let socket = try vsock.connectFromGuest(host: 52, listener: listener)
        try vsock.send(.data, guest: 1000, host: 52, Array("last".utf8))
        try vsock.send(.shutdown, guest: 1000, host: 52, flags: 2)
        #expect(vsock.text(socket) == "last")
        #expect(vsock.read(socket) == nil)
        for _ in 0..<3 {
            vsock.write(socket, "answer")
            #expect(try vsock.one().data == Array("answer".utf8))
        }
        vsock.close(socket)
        let packets = try vsock.received()
        #expect(packets.map(\.operation) == [.shutdown])
        #expect(packets.first?.header.flags == 3)
        try vsock.send(.reset, guest: 1000, host: 52)
        #expect(vsock.connectionCount == 0)
    }

    @Test func guestThatReceivesNoMore_stopsTheProgram() throws {
        let vsock = try VsockGuest()
        try vsock.start()
        let (socket, port) = try vsock.connectFromHost()
        try vsock.send(.shutdown, guest: 52, host: port, flags: 1)
        #expect(vsock.write(socket, "unwanted") == -1 && errno == EPIPE)
        try vsock.send(.data, guest: 52, host: port, Array("still".utf8))
        #expect(vsock.text(socket) == "still")
        // The flags add up.
        try vsock.send(.shutdown, guest: 52, host: port, flags: 2)
        #expect(try vsock.one().operation == .reset)
        #expect(vsock.read(socket) == nil)
    }

    @Test func programThatCloses_isToldToTheGuestBehindItsData() throws {
        let vsock = try VsockGuest()
        try vsock.start()
        let (socket, port) = try vsock.connectFromHost()
        let data = pattern(20_000)
        #expect(vsock.write(socket, data) == data.count)
        vsock.close(socket)
        let packets = try vsock.received()
        #expect(packets.flatMap(\.data) == data)
        #expect(packets.last?.operation == .shutdown && packets.last?.header.flags == 3)
        // Linux answers with a reset as soon as its program has read all.
        try vsock.send(.reset, guest: 52, host: port)
        #expect(vsock.connectionCount == 0)
    }

    @Test func guestThatDoesNotAnswerTheEnd_isResetAfterAWhile() throws {
        let vsock = try VsockGuest(patience: 100_000_000)
        try vsock.start()
        let (socket, port) = try vsock.connectFromHost()
        vsock.close(socket)
        #expect(try vsock.one().operation == .shutdown)
        let packets = try vsock.wait { !$0.isEmpty }
        #expect(packets.map(\.operation) == [.reset] && packets[0].header.sourcePort == port)
        #expect(vsock.connectionCount == 0)
    }

    @Test func guestThatClosesWithDataUnderWay_losesNoneOfIt() throws {
        for end in [VsockOperation.shutdown, .reset] {
            let vsock = try VsockGuest()
            try vsock.start()
            let listener = try vsock.listen(port: 52)
            let socket = try vsock.connectFromGuest(host: 52, listener: listener)
            // More than the host's socket takes while nobody reads.
            var sent: [UInt8] = []
            while vsock.buffered == nil {
                let piece = pattern(4000, sent.count)
                try vsock.send(.data, guest: 1000, host: 52, piece)
                sent += piece
                try #require(sent.count < 4 << 20)
            }
            _ = try vsock.received()
            try vsock.send(end, guest: 1000, host: 52, flags: 3)
            #expect(try vsock.received().isEmpty)
            // For the guest the ports are free as soon as it has said reset.
            if end == .reset {
                let second = try vsock.connectFromGuest(host: 52, listener: listener)
                vsock.close(second)
                _ = try vsock.received()
                try vsock.send(.reset, guest: 1000, host: 52)
            }
            var read: [UInt8] = []
            while let bytes = vsock.read(socket, 10_000) {
                read += bytes
                vsock.serve()
            }
            #expect(read == sent)
            #expect(try vsock.received().map(\.operation).contains(.reset) == (end == .shutdown))
            #expect(vsock.connectionCount == 0)
        }
    }

    @Test func resetOfTheDevice_endsWhatTheGuestKnew_andKeepsWhoWaits() throws {
        let vsock = try VsockGuest()
        try vsock.start()
        let (known, _) = try vsock.connectFromHost()
        let asked = try vsock.program("CONNECT 53\n")
        #expect(try vsock.one().operation == .request)
        vsock.guest.write(.status, 0)
        #expect(vsock.read(known) == nil)
        #expect(vsock.read(asked) == nil)
        // Nobody has asked the guest yet.
        let early = try vsock.program("CONNECT 54\n")
        let silent = try vsock.program()
        vsock.serve()
        vsock.guest.write(.status, 0)
        try vsock.start()
        let request = try vsock.one()
        #expect(request.operation == .request && request.header.destinationPort == 54)
        try vsock.send(.response, guest: 54, host: request.header.sourcePort)
        #expect(vsock.text(early) == "OK \(request.header.sourcePort)\n")
        #expect(vsock.read(silent) == [])
    }

    // MARK: Credit and rings

    @Test func hostSendsNoMoreThanTheGuestHasRoomFor() throws {
        let vsock = try VsockGuest()
        try vsock.start()
        let (socket, port) = try vsock.connectFromHost(credit: 1000)
        let data = pattern(5000)
        #expect(vsock.write(socket, data) == 5000)
        var got: [UInt8] = []
        var packets = try vsock.received()
        #expect(packets.map(\.operation) == [.data, .creditRequest])
        got += packets.flatMap(\.data)
        #expect(got.count == 1000)
        // The question is not repeated, whatever happens.
        vsock.write(socket, "")
        #expect(try vsock.received().isEmpty)
        while got.count < 5000 {
            try vsock.send(.creditUpdate, guest: 52, host: port, credit: 1000, forwarded: UInt32(got.count))
            packets = try vsock.received()
            #expect(packets.flatMap(\.data).count == 1000)
            got += packets.flatMap(\.data)
        }
        #expect(got == data)
        #expect(try vsock.received().isEmpty)
    }

    @Test func guestIsToldOfRoomInTime_andWhenItAsks() throws {
        let vsock = try VsockGuest()
        try vsock.start()
        let (socket, port) = try vsock.connectFromHost()
        let half = pattern(32 << 10)
        try vsock.send(.data, guest: 52, host: port, Array(half.dropLast()))
        #expect(try vsock.received().isEmpty)
        try vsock.send(.data, guest: 52, host: port, [half[half.count - 1]])
        let update = try vsock.one()
        #expect(update.operation == .creditUpdate && update.header.forwarded == 32 << 10)
        #expect(vsock.read(socket) == half)
        try vsock.send(.data, guest: 52, host: port, [1])
        try vsock.send(.creditRequest, guest: 52, host: port)
        let answer = try vsock.one()
        #expect(answer.operation == .creditUpdate && answer.header.forwarded == (32 << 10) + 1)
    }

    @Test func programThatDoesNotRead_holdsTheGuestBackAndNothingElse() throws {
        let vsock = try VsockGuest()
        try vsock.start()
        let listener = try vsock.listen(port: 52)
        let socket = try vsock.connectFromGuest(host: 52, listener: listener)
        var sent: [UInt8] = []
        var forwarded: UInt32 = 0
        // A driver that keeps to what it is told.
        func fill() throws {
            while true {
                for packet in try vsock.received() { forwarded = packet.header.forwarded }
                let room = (64 << 10) - (sent.count - Int(forwarded))
                guard room > 0 else { return }
                let piece = pattern(min(room, 10_000), sent.count)
                try vsock.send(.data, guest: 1000, host: 52, piece)
                sent += piece
            }
        }
        try fill()
        #expect(((32 << 10)...(64 << 10)).contains(try #require(vsock.buffered)))
        #expect(sent.count > 64 << 10)
        // Another connection goes on.
        let (other, port) = try vsock.connectFromHost(port: 9)
        try vsock.send(.data, guest: 9, host: port, [9])
        #expect(vsock.read(other) == [9])
        var read: [UInt8] = []
        while read.count < 1 << 20 {
            read += try #require(vsock.read(socket, 30_000))
            vsock.serve()
            try fill()
        }
        while read.count < sent.count {
            read += try #require(vsock.read(socket))
            vsock.serve()
        }
        #expect(read == sent)
        // The pages are gone.
        #expect(vsock.buffered == nil)
    }

    @Test func noBuffers_waitForTheGuestsNextOnes_andNoneIsForgotten() throws {
        let vsock = try VsockGuest()
        vsock.recycles = false
        try vsock.start(buffers: 0)
        let sockets = try (0..<10 as Range<UInt32>).map { try vsock.program("CONNECT \($0)\n") }
        #expect(try vsock.received().isEmpty)
        try vsock.give(3)
        #expect(try vsock.received().map(\.header.destinationPort) == [0, 1, 2])
        try vsock.give(16)
        let rest = try vsock.received()
        #expect(rest.map(\.header.destinationPort) == Array(3..<10))
        for packet in rest { try vsock.send(.response, guest: packet.header.destinationPort, host: packet.header.sourcePort) }
        #expect(vsock.text(sockets[9])?.hasPrefix("OK ") == true)
    }

    @Test func buffersOfAnyShape_holdWhatFits() throws {
        let vsock = try VsockGuest()
        vsock.recycles = false
        try vsock.start(buffers: 1)
        let (socket, _) = try vsock.connectFromHost()
        let data = pattern(300)
        #expect(vsock.write(socket, data) == 300)
        // Too short for a header; for a header only; in pieces that cut it; one that is longer than what is left.
        try vsock.give(1, size: 43)
        try vsock.give(1, size: 44)
        let base = QueueGuest.data + 0x18_0000
        try vsock.guest.offer(0, head: 8, [.writable(base, 10), .writable(base + 0x100, 33), .writable(base + 0x200, 8), .writable(base + 0x300, 93)])
        vsock.kick(0)
        var got: [UInt8] = []
        let before = try vsock.guest.newUsed(0)
        #expect(before.map(\.length).suffix(3) == [0, 0, 144])
        got += try vsock.guest.bytes(base + 0x200 + 1, 7) + vsock.guest.bytes(base + 0x300, 93)
        let head = try vsock.guest.bytes(base, 10) + vsock.guest.bytes(base + 0x100, 33) + vsock.guest.bytes(base + 0x200, 1)
        #expect(VsockHeader(head)?.length == 100)
        try vsock.give(1)
        got += try vsock.received().flatMap(\.data)
        #expect(got == data)
        #expect(vsock.dropped == 2)
    }

    @Test func packetInManyPieces_isTakenAsAWhole() throws {
        let vsock = try VsockGuest()
        try vsock.start()
        let (socket, port) = try vsock.connectFromHost()
        let header = vsock.header(.data, guest: 52, host: port, length: 1000)
        // Bytes behind the packet's end are nobody's.
        try vsock.send(header, pattern(1200), pieces: [1, 20, 22, 5, 500, 0, 696])
        #expect(vsock.read(socket) == Array(pattern(1200)[..<1000]))
    }

    @Test func manyConnections_haveTheirTurns() throws {
        let vsock = try VsockGuest()
        try vsock.start()
        let programs = try (0..<4 as Range<UInt32>).map { try vsock.connectFromHost(port: 100 + $0) }
        vsock.recycles = false
        _ = try vsock.guest.newUsed(0)
        for (socket, _) in programs { #expect(vsock.write(socket, pattern(40_000)) == 40_000) }
        // As long as all have something, none gets two packets before another has had one.
        var order: [UInt32] = []
        while order.count < 32 {
            let packets = try vsock.received()
            order += packets.map(\.header.destinationPort)
            try vsock.give(packets.isEmpty ? 1 : packets.count)
        }
        for start in stride(from: 4, to: 28, by: 4) { #expect(Set(order[start..<start + 4]).count == 4, "\(order)") }
    }

    // MARK: Pause

    @Test func pausedMachine_getsNothingAndLosesNothing() throws {
        let vsock = try VsockGuest(patience: 200_000_000)
        try vsock.start()
        let (socket, port) = try vsock.connectFromHost()
        let asking = try vsock.program("CONNECT 8\n")
        #expect(try vsock.one().operation == .request)
        vsock.guest.transport.update(VirtioVsock.self) { $0.setPaused(true) }
        #expect(vsock.device { $0.eventSources } == [])
        vsock.write(socket, "outside")
        try vsock.send(.data, guest: 52, host: port, Array("inside".utf8))
        let late = try vsock.program("CONNECT 9\n")
        Clock.sleep(nanoseconds: 300_000_000)
        #expect(try vsock.received().isEmpty)
        #expect(vsock.read(socket) == [])
        #expect(vsock.read(asking) == [])
        vsock.guest.transport.update(VirtioVsock.self) { $0.setPaused(false) }
        let packets = try vsock.received()
        #expect(packets.contains { $0.data == Array("outside".utf8) } && packets.contains { $0.header.destinationPort == 9 })
        #expect(vsock.text(socket) == "inside")
        #expect(vsock.read(late) == [])
        // Whoever waited has its time still.
        #expect(vsock.read(asking) == [])
        try vsock.send(.response, guest: 8, host: port + 1)
        #expect(vsock.text(asking) == "OK \(port + 1)\n")
    }
}
