import AddressSpace
import Devices
import LinuxSys
import Testing
@testable import Virtio

/// Guests and peers that break the console device. Numbers are the bug classes of a virtual machine monitor's history that a test stands for.
@Suite struct HostileConsoleTests {
    private func expectWorking(_ console: ConsoleGuest, _ char: FakeChar, sourceLocation: SourceLocation = #_sourceLocation) throws {
        char.allow(.max)
        try console.open()
        let before = char.sent.count
        try console.output(1, Array("works".utf8))
        #expect(char.sent.suffix(from: before) == Array("works".utf8)[...], sourceLocation: sourceLocation)
    }

    // MARK: 2. Numbers from the guest as indices

    @Test func class2_portsOutOfRange_inControlMessages_areDropped() throws {
        let char = FakeChar()
        let console = try ConsoleGuest.usual(char)
        try console.open()
        var expected: UInt64 = 0
        for port in [2, 3, 30, 31, 32, 0xffff, 0x7fff_ffff, 0x8000_0000, .max] as [UInt32] {
            for event in [3, 6] as [UInt16] {
                try console.send(port, event, 1)
                expected += 1
            }
        }
        #expect(console.guest.transport.statistics.droppedRequests == expected)
        #expect(try console.received() == [])
        try expectWorking(console, char)
    }

    @Test func class2_messagesThatOnlyTheDeviceSends_andUnknownOnes_areDropped() throws {
        let console = try ConsoleGuest.usual()
        try console.open()
        for event in [1, 2, 4, 5, 7, 8, 0x8000, 0xffff] as [UInt16] { try console.send(0, event, 1) }
        #expect(console.guest.transport.statistics.droppedRequests == 8)
        #expect(try console.received() == [])
    }

    // MARK: 4. Input without a limit (CVE-2020-27174)

    @Test func class4_floodFromTheHost_isBounded_whateverTheGuestDoes() throws {
        let char = FakeChar()
        let console = try ConsoleGuest.usual(char)
        for _ in 0..<3 {
            var typed = 0
            for _ in 0..<100 { typed += char.type([UInt8](repeating: 1, count: 100_000)) }
            #expect(typed <= ConsoleLink.inputCapacity)
            #expect(char.client?.receiveRoom() == 0)
            try console.open()
        }
    }

    @Test func class4_controlQueueWithoutBuffers_holdsOneMessageOfAKind() throws {
        let agent = FakeChar(isConnected: false)
        let console = try ConsoleGuest.usual(FakeChar(), agent)
        try console.guest.start()
        for round in 0..<2000 {
            try console.send(0, 0, 1)
            try console.send(UInt32(round % 2), 3, 1)
            agent.connect(round % 2 == 0)
            console.guest.serve()
        }
        try console.send(1, 3, 1)
        for _ in 0..<99 {
            agent.connect(true)
            console.guest.serve()
            agent.connect(false)
            console.guest.serve()
        }
        agent.connect(true)
        try console.giveMessageBuffers(16)
        // Both were added anew by the last DEVICE_READY but the messages of port 1 are of its PORT_READY alone.
        #expect(try console.received() == ["0 1 1", "1 7 1 agent", "1 6 1"])
    }

    // MARK: 7. Lengths from overlapping descriptors

    @Test func class7_gigabytesInOneChain_areTakenInSmallPieces() throws {
        let char = FakeChar()
        let console = try ConsoleGuest.usual(char)
        try console.open()
        // 15 times the same 1 MiB.
        let buffers = [Buffer](repeating: .readable(QueueGuest.data, 1 << 20), count: 15)
        try console.guest.offer(1, buffers)
        console.guest.write(.queueNotify, 1)
        var turns = 0
        while try console.guest.newUsed(1).isEmpty, turns < 2000 {
            let before = char.sent.count
            console.guest.turn()
            #expect(char.sent.count - before <= VirtioConsole.outputBudget + VirtioConsole.pieceSize)
            turns += 1
        }
        #expect(char.sent.count == 15 << 20)
        #expect(turns >= 225)
    }

    // MARK: 10. Chains that make no sense

    @Test func class10_buffersOfTheWrongDirectionOrWithoutBytes_comeBack_andTheQueueGoesOn() throws {
        let char = FakeChar()
        let agent = FakeChar()
        let console = try ConsoleGuest.usual(char, agent)
        try console.open()
        let guest = console.guest
        let place = QueueGuest.data
        // Transmit: nothing to read.
        for bad in [[Buffer.writable(place, 64)], [.readable(place, 0)], [.writable(place, 0)], [.readable(place, 0), .writable(place, 1)]] {
            try guest.offer(1, bad)
            guest.kick(1)
            #expect(try guest.newUsed(1) == [UsedEntry(id: 0, length: 0)])
        }
        // Receive: nothing to write; the bytes wait for the first that can take them.
        char.type(Array("kept".utf8))
        for bad in [[Buffer.readable(place, 64)], [.readable(place, 0)], [.writable(place, 0)]] {
            try guest.offer(0, bad)
            guest.kick(0)
            #expect(try guest.newUsed(0) == [UsedEntry(id: 0, length: 0)])
        }
        try guest.offer(0, [.readable(place, 3), .writable(place + 64, 0), .writable(place + 64, 2), .writable(place + 128, 9)])
        guest.kick(0)
        #expect(try guest.newUsed(0) == [UsedEntry(id: 0, length: 4)])
        #expect(try guest.bytes(place + 64, 2) + guest.bytes(place + 128, 2) == Array("kept".utf8))
        // Control, guest to host: too short, or nothing to read.
        let dropped = guest.transport.statistics.droppedRequests
        for length in 0..<8 { try console.send([UInt8](repeating: 0, count: length)) }
        try guest.offer(3, [.writable(place, 64)])
        guest.kick(3)
        #expect(guest.transport.statistics.droppedRequests == dropped + 9)
        #expect(try guest.newUsed(3).allSatisfy { $0.length == 0 })
        try expectWorking(console, char)
    }

    @Test func class10_messageBuffersThatAreTooSmall_loseTheMessage_andNothingElse() throws {
        let console = try ConsoleGuest.usual()
        try console.guest.start()
        for bad in [Buffer.writable(QueueGuest.data, 0), .writable(QueueGuest.data, 7), .readable(QueueGuest.data, 64)] {
            try console.guest.offer(2, [bad])
            try console.send(0, 0, 1)
            try console.guest.offer(2, [bad])
            console.guest.kick(2)
            #expect(try console.guest.newUsed(2) == [UsedEntry(id: 0, length: 0), UsedEntry(id: 0, length: 0)])
        }
        try console.giveMessageBuffers(2)
        try console.send(1, 3, 1)
        #expect(try console.received() == ["1 7 1 agent"])
    }

    // MARK: 11. What outlives a session

    @Test func class11_resetWhileOutputWaits_touchesNothingAfterwards() throws {
        let char = FakeChar()
        let console = try ConsoleGuest.usual(char)
        try console.open()
        char.allow(0)
        try console.output(1, [1, 2, 3])
        console.guest.write(.status, 0)
        let before = try console.guest.bytes(console.guest.rings[0].base, 0x4000 * console.guest.rings.count)
        char.allow(100)
        char.type([9])
        console.guest.serve()
        #expect(char.sent.isEmpty)
        #expect(try console.guest.bytes(console.guest.rings[0].base, 0x4000 * console.guest.rings.count) == before)
        try expectWorking(console, char)
    }

    @Test func class11_aPartOfABufferThatWasSent_isForgottenByAReset() throws {
        let char = FakeChar()
        let console = try ConsoleGuest.usual(char)
        try console.open()
        char.allow(2)
        try console.output(1, [1, 2, 3, 4])
        #expect(char.sent == [1, 2])
        try expectWorking(console, char)
    }

    // MARK: 18, 19. Rings and chains

    @Test func class18_and_19_badChainsOnEveryQueue_needReset() throws {
        let end = QueueGuest.ramSize
        for queue in 0..<6 {
            let isReceive = queue % 2 == 0
            let bad: [[Buffer]] = [
                [Buffer(address: end, length: 16, flags: isReceive ? Descriptor.write : 0)],
                [Buffer(address: .max - 4, length: 16, flags: isReceive ? Descriptor.write : 0)],
                [Buffer(address: 0xf010_0000, length: 16, flags: isReceive ? Descriptor.write : 0)],
                [Buffer(address: QueueGuest.data, length: 16, flags: isReceive ? Descriptor.write : 0, next: 0)],
                [Buffer(address: QueueGuest.data, length: 16, flags: isReceive ? Descriptor.write : 0, next: 16)],
                [.writable(QueueGuest.data, 16), .readable(QueueGuest.data, 16)],
            ]
            for chain in bad {
                let char = FakeChar()
                let agent = FakeChar()
                let console = try ConsoleGuest.usual(char, agent)
                try console.open()
                // So that there is something to do on receive queues.
                char.type([1])
                agent.type([1])
                console.guest.serve()
                agent.connect(false)
                while try !console.received().isEmpty {}
                for _ in 0..<20 where queue == 2 {
                    // Use up the good buffers first.
                    try console.send(0, 3, 1)
                }
                try console.guest.offer(queue, chain)
                console.guest.kick(queue)
                #expect(console.guest.status.contains(.needsReset), "queue \(queue) \(chain)")
                try expectWorking(console, char)
            }
        }
    }

    @Test func class19_availableIndexJump_needsReset() throws {
        for queue in [0, 1, 3, 4, 5] {
            let char = FakeChar()
            let agent = FakeChar()
            let console = try ConsoleGuest.usual(char, agent)
            try console.open()
            char.type([1])
            agent.type([1])
            try console.guest.memory.storeRelease16(9999, at: console.guest.rings[queue].available + 2)
            console.guest.kick(queue)
            #expect(console.guest.status.contains(.needsReset), "queue \(queue)")
            try expectWorking(console, char)
        }
    }

    // MARK: 28. One device starves the others

    @Test func class28_floodOfControlMessages_isServedAQueueAtATime() throws {
        let console = try ConsoleGuest.usual()
        try console.open()
        // The ring is full of the same message, for ever.
        try console.guest.fill(QueueGuest.data, [0, 0, 0, 0, 3, 0, 1, 0])
        for _ in 0..<16 { try console.guest.offer(3, [.readable(QueueGuest.data, 8)]) }
        console.guest.write(.queueNotify, 3)
        #expect(console.guest.turn())
        #expect(try console.guest.newUsed(3).count >= 16)
        // It comes back by itself, behind the others.
        #expect(console.guest.turn())
        #expect(!console.guest.turn())
    }

    @Test func class28_emptyOutputBuffers_areLimitedATurn() throws {
        let console = try ConsoleGuest.usual()
        try console.guest.start(size: 128)
        for _ in 0..<128 { try console.guest.offer(1, [.writable(QueueGuest.data, 0)]) }
        console.guest.write(.queueNotify, 1)
        console.guest.turn()
        #expect(try console.guest.newUsed(1).count <= 32)
        console.guest.serve()
        #expect(console.guest.transport.statistics.droppedRequests == 128)
    }

    // MARK: Peers

    @Test func peersThatComeAndGo_neverDisturbTheGuest() throws {
        let agent = FakeChar(isConnected: false)
        let console = try ConsoleGuest.usual(FakeChar(), agent)
        try console.open()
        var generator = SeededGenerator(seed: 7)
        var isOpen = false
        for _ in 0..<5000 {
            switch Int.random(in: 0..<4, using: &generator) {
            case 0: agent.connect(true)
            case 1: agent.connect(false)
            case 2: agent.type([1, 2, 3])
            default: try console.giveInputBuffer(4, 2)
            }
            if Bool.random(using: &generator) { console.guest.serve() }
            let messages = try console.received()
            for message in messages {
                #expect(message == (isOpen ? "1 6 0" : "1 6 1"))
                isOpen.toggle()
            }
            try console.giveMessageBuffers(messages.count)
            _ = try console.guest.newUsed(4)
        }
        for _ in 0..<4000 where agent.client?.receiveRoom() != ConsoleLink.inputCapacity {
            try console.giveInputBuffer(4, 64)
            _ = try console.guest.newUsed(4)
        }
        for message in try console.received() {
            #expect(message == (isOpen ? "1 6 0" : "1 6 1"))
            isOpen.toggle()
        }
        #expect(isOpen == agent.isConnected)
    }

    // MARK: Anything at all

    @Test(arguments: 0..<20) func randomGuests_neverStopTheDevice(seed: Int) throws {
        var generator = SeededGenerator(seed: UInt64(seed))
        let char = FakeChar()
        let agent = FakeChar()
        let console = try ConsoleGuest.usual(char, agent)
        try console.open()
        for _ in 0..<2000 {
            let queue = Int.random(in: 0..<6, using: &generator)
            switch Int.random(in: 0..<10, using: &generator) {
            case 0: try console.guest.memory.store(UInt64.random(in: .min ... .max, using: &generator), at: console.guest.rings[queue].descriptors + UInt64.random(in: 0..<32, using: &generator) * 8)
            case 1: try console.guest.offer(queue, UInt16.random(in: 0..<20, using: &generator))
            case 2: try console.send((0..<Int.random(in: 0..<12, using: &generator)).map { _ in UInt8.random(in: 0...8, using: &generator) })
            case 3: try console.giveMessageBuffers(Int.random(in: 0..<4, using: &generator))
            case 4: char.type([1, 2, 3])
            case 5: char.allow(Int.random(in: 0..<5000, using: &generator))
            case 6: agent.connect(Bool.random(using: &generator))
            case 7: try console.output(queue | 1, [1, 2, 3, 4], pieces: [1, 1, 2])
            case 8: try console.giveInputBuffer(queue & 4, UInt32.random(in: 0..<10, using: &generator))
            default: console.guest.write(.queueNotify, UInt32(queue))
            }
            console.guest.serve(turns: 3)
            if console.guest.status.contains(.needsReset) { try console.open() }
        }
        try expectWorking(console, char)
    }
}
