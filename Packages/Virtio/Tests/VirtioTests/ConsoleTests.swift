import Devices
import Foundation
import LinuxSys
import Testing
@testable import Virtio

@Suite struct ConsoleTests {
    // MARK: Layout

    @Test func queues_areWhereTheSpecificationPutsThem() {
        #expect(ConsoleQueue.receive(port: 0).index == 0)
        #expect(ConsoleQueue.transmit(port: 0).index == 1)
        #expect(ConsoleQueue.controlReceive.index == 2)
        #expect(ConsoleQueue.controlTransmit.index == 3)
        #expect(ConsoleQueue.receive(port: 1).index == 4)
        #expect(ConsoleQueue.transmit(port: 30).index == 63)
        for index in 0..<64 { #expect(ConsoleQueue(index: index).index == index) }
    }

    @Test func configuration_tellsAsManyPortsAsThereAre() throws {
        for (number, queues) in [(0, 4), (1, 6), (5, 14), (30, 64)] {
            let console = try ConsoleGuest([ConsolePort(number: number, kind: .console, backend: FakeChar())])
            #expect(console.guest.rings.count == queues)
            #expect(console.guest.config(4, 4) == UInt64(number + 1))
            #expect(console.guest.config(0, 8) == UInt64(number + 1) << 32)
            #expect(console.guest.config(5, 1) == 0)
            #expect(console.guest.config(8, 8) == 0)
            #expect(console.guest.read(.deviceID) == 3)
            for queue in 0..<queues {
                console.guest.write(.queueSelect, UInt32(queue))
                #expect(console.guest.read(.queueSizeMaximum) == (queue == 2 || queue == 3 ? 32 : 128))
            }
        }
        // A device without ports still has port 0's queues, as the layout wants it.
        #expect(try ConsoleGuest([]).guest.rings.count == 4)
    }

    @Test func features_areSizeAndMultiport() throws {
        let console = try ConsoleGuest.usual()
        #expect(console.guest.offeredFeatures & 0xff_ffff == 3)
    }

    @Test func numbers_areGivenAsInQEMU_explicitOnesFirst() throws {
        func numbers(_ ports: [(Int?, ConsolePort.Kind)], _ maximum: Int = 31) throws -> [Int] {
            try ConsolePort.numbers(ports.map { ConsolePort(number: $0.0, kind: $0.1, backend: FakeChar()) }, maximum: maximum)
        }
        #expect(try numbers([(nil, .generic), (nil, .console), (nil, .generic)]) == [1, 0, 2])
        #expect(try numbers([(nil, .console), (nil, .console), (1, .generic)]) == [0, 2, 1])
        #expect(try numbers([(0, .console), (nil, .console)]) == [0, 1])
        #expect(throws: ConsoleError.portZeroIsForConsoles) { try numbers([(0, .generic)]) }
        #expect(throws: ConsoleError.portInUse(3)) { try numbers([(3, .generic), (3, .console)]) }
        #expect(throws: ConsoleError.portOutOfRange(31, maximum: 31)) { try numbers([(31, .generic)]) }
        #expect(throws: ConsoleError.portOutOfRange(-1, maximum: 31)) { try numbers([(-1, .generic)]) }
        #expect(throws: ConsoleError.tooManyPorts(maximum: 2)) { try numbers([(nil, .generic), (nil, .generic)], 2) }
        #expect(throws: ConsoleError.badMaximumPorts(0)) { try numbers([], 0) }
        #expect(throws: ConsoleError.badMaximumPorts(32)) { try numbers([], 32) }
        #expect(try numbers([(nil, .console)] + [(Int?, ConsolePort.Kind)](repeating: (nil, .generic), count: 30)) == Array(0..<31))
        #expect(throws: ConsoleError.nameTooLong) {
            try ConsolePort.numbers([ConsolePort(kind: .generic, name: String(repeating: "é", count: 128), backend: FakeChar())], maximum: 31)
        }
    }

    @Test func errors_nameTheOption() {
        #expect(ConsoleError.badMaximumPorts(32).description == "virtio-serial: max_ports=32 is not in 1..31")
        #expect(ConsoleError.portOutOfRange(9, maximum: 4).description == "virtio-serial: nr=9 is not below max_ports=4")
        #expect(ConsoleError.portInUse(1).description == "virtio-serial: nr=1 is in use")
        #expect(ConsoleError.portZeroIsForConsoles.description == "virtserialport: nr=0 is for a virtconsole; others begin at 1")
        #expect(ConsoleError.tooManyPorts(maximum: 1).description == "virtio-serial: no port is left of max_ports=1")
        #expect(ConsoleError.nameTooLong.description == "virtserialport: name is longer than 255 bytes")
    }

    // MARK: Control messages

    @Test func handshake_announcesPortsAsLinuxWantsThem() throws {
        let agent = FakeChar(isConnected: false)
        let console = try ConsoleGuest.usual(FakeChar(), agent)
        try console.guest.start()
        try console.giveMessageBuffers(16)
        #expect(try console.received() == [])
        try console.send(0, 0, 1)
        #expect(try console.received() == ["0 1 1", "1 1 1"])
        try console.send(0, 3, 1)
        #expect(try console.received() == ["0 4 1", "0 6 1"])
        try console.send(1, 3, 1)
        #expect(try console.received() == ["1 7 1 agent"])
        try console.giveMessageBuffers(5)
        agent.connect(true)
        #expect(try console.received() == ["1 6 1"])
        agent.connect(false)
        #expect(try console.received() == ["1 6 0"])
        // Quicker than the guest looks: it still learns that it is somebody else.
        agent.connect(true)
        #expect(try console.received() == ["1 6 1"])
        agent.connect(false)
        agent.connect(true)
        #expect(try console.received() == ["1 6 0", "1 6 1"])
        #expect(console.guest.transport.statistics.droppedRequests == 0)
    }

    @Test func connectedPort_isOpenFromTheStart_andAConsoleAlways() throws {
        let console = try ConsoleGuest([
            ConsolePort(kind: .console, backend: FakeChar(isConnected: false)),
            ConsolePort(number: 4, kind: .generic, backend: FakeChar()), ConsolePort(number: 2, kind: .console, name: "two", backend: FakeChar()),
        ])
        try console.guest.start()
        try console.giveMessageBuffers(16)
        try console.send(0, 0, 1)
        #expect(try console.received() == ["0 1 1", "2 1 1", "4 1 1"])
        for port in [0, 2, 4] as [UInt32] { try console.send(port, 3, 1) }
        #expect(try console.received() == ["0 4 1", "0 6 1", "2 4 1", "2 7 1 two", "2 6 1", "4 6 1"])
    }

    @Test func driverThatStartsAgain_getsEverythingAgain() throws {
        let console = try ConsoleGuest.usual()
        for _ in 0..<3 {
            try console.guest.start()
            try console.giveMessageBuffers(16)
            try console.send(0, 0, 1)
            try console.send(0, 3, 1)
            #expect(try console.received() == ["0 1 1", "1 1 1", "0 4 1", "0 6 1"])
        }
        // The driver gives a port up: nothing more is said of it.
        try console.send(0, 3, 0)
        #expect(try console.received() == [])
    }

    // MARK: Output

    @Test func output_reachesTheHostInOrder_whereverBuffersCutIt() throws {
        let char = FakeChar()
        let console = try ConsoleGuest.usual(char)
        try console.open()
        let bytes = (0..<20_000).map { UInt8(truncatingIfNeeded: $0 * 7) }
        try console.output(1, bytes, pieces: [1, 0, 4095, 4096, 4097, 7711])
        #expect(char.sent == bytes)
        #expect(try console.guest.newUsed(1) == [UsedEntry(id: 0, length: 0)])
        #expect(console.guest.read(.interruptStatus) & VirtioInterrupt.usedBuffer != 0)
        #expect(char.losses == ["allowed"])
    }

    @Test func hostThatTakesLittle_holdsTheGuestUp_andLosesNothing() throws {
        let agent = FakeChar()
        let console = try ConsoleGuest.usual(FakeChar(), agent)
        try console.open()
        agent.allow(0)
        let bytes = (0..<10_000).map { UInt8(truncatingIfNeeded: $0 * 13) }
        try console.output(5, bytes, pieces: [10, 5000, 4990])
        var taken = 0
        for step in [0, 1, 9, 4000, 1000, 4096, 893] {
            #expect(try console.guest.newUsed(5) == [])
            agent.allow(step)
            console.guest.serve()
            taken += step
            #expect(agent.sent == Array(bytes.prefix(taken)))
        }
        agent.allow(100_000)
        console.guest.serve()
        #expect(agent.sent == bytes)
        #expect(try console.guest.newUsed(5) == [UsedEntry(id: 0, length: 0)])
        #expect(agent.losses == ["never"])
        // The next buffer begins at its beginning.
        try console.output(5, [1, 2, 3])
        #expect(agent.sent == bytes + [1, 2, 3])
    }

    @Test func withoutMultiport_port0IsAConsole() throws {
        let char = FakeChar()
        let console = try ConsoleGuest([ConsolePort(kind: .console, backend: char)])
        try console.guest.start(features: VirtioFeature.version1, leavingOut: [2, 3])
        try console.output(1, Array("hello".utf8))
        #expect(char.sent == Array("hello".utf8))
        char.type(Array("typed".utf8))
        try console.giveInputBuffer(0, 64)
        #expect(try console.input(0) == [Array("typed".utf8)])
    }

    /// Linux waits for these buffers with its processor.
    @Test func outputOfAPortThatIsNot_comesBack() throws {
        let console = try ConsoleGuest([ConsolePort(number: 2, kind: .generic, backend: FakeChar())])
        try console.guest.start()
        for queue in [1, 5] {
            try console.output(queue, [1, 2, 3])
            #expect(try console.guest.newUsed(queue) == [UsedEntry(id: 0, length: 0)])
        }
    }

    // MARK: Input

    @Test func input_waitsForBuffersAndForTheGuestToOpenThePort() throws {
        let agent = FakeChar()
        let console = try ConsoleGuest.usual(FakeChar(), agent)
        agent.type(Array("early ".utf8))
        try console.open([0])
        try console.giveInputBuffer(4, 4)
        try console.giveInputBuffer(4, 64)
        #expect(try console.input(4) == [])
        try console.send(1, 3, 1)
        #expect(try console.input(4) == [])
        try console.send(1, 6, 1)
        #expect(try console.guest.newUsed(4) == [UsedEntry(id: 0, length: 4), UsedEntry(id: 1, length: 2)])
        agent.type(Array("late".utf8))
        #expect(try console.input(4) == [])
        try console.giveInputBuffer(4, 64)
        #expect(try console.input(4) == [Array("late".utf8)])
        // Closed again: it waits again.
        try console.giveInputBuffer(4, 64)
        try console.send(1, 6, 0)
        agent.type(Array("closed".utf8))
        #expect(try console.input(4) == [])
        try console.send(1, 6, 1)
        #expect(try console.input(4) == [Array("closed".utf8)])
    }

    @Test func input_outlivesAResetOfTheDriver() throws {
        let char = FakeChar()
        let console = try ConsoleGuest.usual(char)
        try console.open()
        char.type(Array("typed at the boot loader".utf8))
        console.guest.serve()
        try console.open()
        try console.giveInputBuffer(0, 64)
        #expect(try console.input(0) == [Array("typed at the boot loader".utf8)])
    }

    @Test func theEndOfAConnection_comesAfterItsData() throws {
        let agent = FakeChar()
        let console = try ConsoleGuest.usual(FakeChar(), agent)
        try console.open()
        agent.type(Array("last words".utf8))
        agent.connect(false)
        #expect(try console.received() == [])
        try console.giveInputBuffer(4, 4)
        #expect(try console.received() == [])
        try console.giveInputBuffer(4, 64)
        #expect(try console.received() == ["1 6 0"])
        #expect(try console.guest.newUsed(4).map(\.length) == [4, 6])
    }

    @Test func class5_input_goesOn_whenTheRingHasRoomAgain() throws {
        let char = FakeChar()
        let console = try ConsoleGuest.usual(char)
        try console.open()
        let bytes = (0..<10_000).map { UInt8(truncatingIfNeeded: $0 * 3) }
        var typed = char.type(bytes)
        #expect(typed == 4096)
        let before = char.resumed
        var received: [UInt8] = []
        while received.count < bytes.count {
            try console.giveInputBuffer(0, 1000)
            let new = try console.input(0).flatMap { $0 }
            #expect(!new.isEmpty)
            if new.isEmpty { break }
            received += new
            typed += char.type(Array(bytes[typed...]))
        }
        #expect(received == bytes)
        #expect(char.resumed > before)
    }

    // MARK: With real back ends

    @Test func unixSocket_toAConsole_bothWays_onTheLoop() throws {
        let path = FileManager.default.temporaryDirectory.appendingPathComponent("v-\(UUID().uuidString.prefix(8))").path
        let console = try ConsoleGuest([ConsolePort(kind: .console, backend: try CharBackends.make(.socket(SocketSpec(.unix(path: path), isServer: true))))])
        try console.open([0])
        let peer = try StreamSocket.connect(path: path)
        func turn() {
            console.loop.runOnce(timeoutMilliseconds: 1)
            console.guest.serve()
        }
        for _ in 0..<5 { turn() }
        _ = try peer.send(Array("root\n".utf8))
        try console.giveInputBuffer(0, 64)
        for _ in 0..<20 { turn() }
        #expect(try console.input(0) == [Array("root\n".utf8)])
        // More than the ring and the socket hold.
        let bytes = (0..<1_000_000).map { UInt8(truncatingIfNeeded: $0 * 11) }
        try console.guest.fill(QueueGuest.data, bytes)
        try console.guest.offer(1, [.readable(QueueGuest.data, UInt32(bytes.count))])
        console.guest.kick(1)
        var read: [UInt8] = []
        for _ in 0..<10_000 where read.count < bytes.count {
            turn()
            var buffer = [UInt8](repeating: 0, count: 65536)
            if let count = try? peer.read(into: &buffer) { read += buffer.prefix(count) }
        }
        #expect(read == bytes)
        console.host.stop()
    }
}
