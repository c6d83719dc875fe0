import Foundation
import LinuxSys
import Testing

@testable import MachineManager

/// Descriptors that clients send. Each test follows one end of a socket pair: its peer hangs up when the last copy of that end is closed.
@Suite(.timeLimit(.minutes(1))) struct QMPDescriptorTests {
    /// A descriptor to send, and who sees that all its copies are closed.
    private final class Witness {
        private let near: OwnedFD
        private var far: Int32

        init() throws {
            var pair: [Int32] = [-1, -1]
            try #require(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0, &pair) == 0)
            near = OwnedFD(adopting: pair[0])
            far = pair[1]
        }

        deinit { letGo() }

        var number: Int32 { far }

        /// Closes the test's own copy.
        func letGo() {
            if far >= 0 { close(far) }
            far = -1
        }

        /// Waits some time for the last copy to be closed.
        func isClosed(milliseconds: UInt64 = 2000) throws -> Bool {
            try near.wait(for: [], nanoseconds: milliseconds * 1_000_000).contains(.hangup)
        }
    }

    private func sent(_ desk: Desk) throws -> Witness {
        let witness = try Witness()
        desk.offer(OwnedFD(adopting: dup(witness.number)))
        witness.letGo()
        return witness
    }

    @Test func getfd_thenNetdevAdd_handsTheDescriptorToTheMachine() throws {
        let server = try TestServer()
        let client = try server.client()
        try client.negotiate()
        let witnesses = try ["a", "b", "v"].map { name in
            let witness = try Witness()
            try client.send("{\"execute\":\"getfd\",\"arguments\":{\"fdname\":\"\(name)\"}}", descriptors: [witness.number])
            #expect(try client.message() == ["return": [:]])
            witness.letGo()
            return witness
        }
        client.send(#"{"execute":"netdev_add","arguments":{"id":"n","type":"tap","fds":"a:b","vhost":"on","vhostfds":"v:w"}}"#)
        #expect(try client.error() == ["GenericError", "netdev_add: no descriptor is named 'w'"])
        // All or none: those that were there still are.
        client.send(#"{"execute":"netdev_add","arguments":{"id":"n","type":"tap","fds":"a:b"}}"#)
        #expect(try client.message() == ["return": [:]])
        #expect(server.machine.netdevs.map(\.queues) == [2])
        #expect(server.machine.state.withLock { $0.descriptors["n"]?.count } == 2)
        client.send(#"{"execute":"closefd","arguments":{"fdname":"a"}}"#)
        #expect(try client.error() == ["GenericError", "closefd: no descriptor is named 'a'"])
        client.send(#"{"execute":"netdev_del","arguments":{"id":"n"}}{"execute":"closefd","arguments":{"fdname":"v"}}"#)
        #expect(try client.message() == ["return": [:]])
        #expect(try client.message() == ["return": [:]])
        for witness in witnesses { #expect(try witness.isClosed()) }
    }

    @Test func storedDescriptor_outlivesTheConnection() throws {
        let server = try TestServer()
        do {
            let client = try server.client()
            try client.negotiate()
            try client.send(#"{"execute":"getfd","arguments":{"fdname":"tap"}}"#, descriptors: [0])
            #expect(try client.message() == ["return": [:]])
        }
        // On the other address, too.
        let client = try TestClient(port: server.port)
        try client.negotiate()
        client.send(#"{"execute":"closefd","arguments":{"fdname":"tap"}}"#)
        #expect(try client.message() == ["return": [:]])
    }

    @Test func getfd_withANameThatIsTaken_closesTheOldDescriptor() throws {
        let desk = Desk()
        let old = try sent(desk)
        #expect(desk.say("getfd", #"{"fdname":"tap"}"#) == "{}")
        let new = try sent(desk)
        #expect(desk.say("getfd", #"{"fdname":"tap"}"#) == "{}")
        #expect(try old.isClosed())
        #expect(try !new.isClosed(milliseconds: 0))
        #expect(desk.say("closefd", #"{"fdname":"tap"}"#) == "{}")
        #expect(try new.isClosed())
    }

    @Test func getfd_withoutADescriptor_isAnError() throws {
        let server = try TestServer()
        for client in [try server.client(), try TestClient(port: server.port)] {
            try client.negotiate()
            client.send(#"{"execute":"getfd","arguments":{"fdname":"tap"}}"#)
            #expect(
                try client.error() == ["GenericError", "getfd: no descriptor came with the command; it is sent over a unix socket, as SCM_RIGHTS"])
        }
    }

    @Test(arguments: ["9", "3tap", "", "a:b", ":"])
    func getfd_withANameThatCannotBeUsed_closesTheDescriptor(_ name: String) throws {
        let desk = Desk()
        let witness = try sent(desk)
        #expect(
            desk.say("getfd", "{\"fdname\":\"\(name)\"}")
                == "GenericError: getfd: argument 'fdname' must be a name without colons that does not begin with a digit, not '\(name)'")
        #expect(try witness.isClosed())
    }

    @Test func store_isBounded() throws {
        let desk = Desk()
        for index in 0..<QMPDescriptors.limit {
            desk.offer(OwnedFD(adopting: dup(0)))
            #expect(desk.say("getfd", "{\"fdname\":\"t\(index)\"}") == "{}")
        }
        let surplus = try sent(desk)
        #expect(
            desk.say("getfd", #"{"fdname":"more"}"#) == "GenericError: getfd: 64 descriptors are stored already; use or close one first")
        #expect(try surplus.isClosed())
        // A name that is there may still be replaced.
        desk.offer(OwnedFD(adopting: dup(0)))
        #expect(desk.say("getfd", #"{"fdname":"t0"}"#) == "{}")
    }

    @Test(arguments: [
        (#""fd":"0""#, "'fd' must be the number of an open descriptor, at least 3, or the name of one, not '0'"),
        (#""fd":"2147483648""#, "'fd' must be the number of an open descriptor, at least 3, or the name of one, not '2147483648'"),
        (#""fds":"a::b""#, "'fds' must be the number of an open descriptor, at least 3, or the name of one, not ''"),
        (#""fds":"a:a""#, "'fds' has 'a' twice"),
        (#""fd":"7000""#, "descriptor 7000 was not open when the program started"),
        (#""fds":"a:b","queues":3"#, "'queues' is 3, but descriptors are given for 2"),
    ])
    func netdevAdd_checksDescriptors(_ arguments: String, _ expected: String) {
        #expect(Desk().say("netdev_add", "{\"id\":\"n\",\"type\":\"tap\",\(arguments)}") == "GenericError: netdev_add: \(expected)")
    }

    /// qemu.qmp sends the descriptor with a blank, and the command after it.
    @Test func descriptor_mayComeBeforeItsCommand() throws {
        let server = try TestServer()
        let client = try server.client()
        try client.negotiate()
        try client.send(" ", descriptors: [0])
        client.send(#"{"execute":"getfd","arguments":{"fdname":"tap"}}"#)
        #expect(try client.message() == ["return": [:]])
        client.send(#"{"execute":"closefd","arguments":{"fdname":"tap"}}"#)
        #expect(try client.message() == ["return": [:]])
    }

    @Test func descriptor_thatNoCommandTakes_isClosed() throws {
        let server = try TestServer()
        let client = try server.client()
        try client.negotiate()
        let stray = try Witness()
        try client.send(#"{"execute":"query-status"}"#, descriptors: [stray.number, stray.number])
        stray.letGo()
        _ = try client.message()
        // The second of two, too: getfd takes one.
        client.send(#"{"execute":"query-status"}"#)
        _ = try client.message()
        #expect(try stray.isClosed())
        let pair = try Witness()
        try client.send(#"{"execute":"getfd","arguments":{"fdname":"one"}}"#, descriptors: [pair.number, pair.number])
        pair.letGo()
        #expect(try client.message() == ["return": [:]])
        client.send(#"{"execute":"query-status"}{"execute":"closefd","arguments":{"fdname":"one"}}"#)
        _ = try client.message()
        #expect(try client.message() == ["return": [:]])
        #expect(try pair.isClosed())
    }

    @Test func descriptorFlood_isHungUpOn_andClosed() throws {
        let server = try TestServer()
        for _ in 0..<50 {
            let client = try server.client()
            try client.negotiate()
            let flood = try Witness()
            try client.send(" ", descriptors: [Int32](repeating: flood.number, count: 253))
            flood.letGo()
            #expect(client.line() == nil)
            #expect(try flood.isClosed())
        }
        // Little by little it is no better.
        let client = try server.client()
        try client.negotiate()
        let flood = try Witness()
        let socket = OwnedFD(adopting: dup(client.descriptor))
        for _ in 0..<40 { _ = try? socket.send([0x20], descriptors: [flood.number]) }
        flood.letGo()
        #expect(client.line() == nil)
        #expect(try flood.isClosed())
        try server.client().negotiate()
    }

    @Test func hangUp_atAnyByteOfAGetfd_closesItsDescriptor() throws {
        let server = try TestServer()
        let command = #"{"execute":"getfd","arguments":{"fdname":"tap"}}"#
        for count in 1...command.utf8.count {
            let witness = try Witness()
            do {
                let client = try server.client()
                try client.send(String(command.prefix(count)), descriptors: [witness.number])
                witness.letGo()
            }
            if count == command.utf8.count {
                // It was stored, or the client was gone before.
                let client = try server.client()
                try client.negotiate()
                client.send(#"{"execute":"closefd","arguments":{"fdname":"tap"}}"#)
                _ = client.line()
            }
            #expect(try witness.isClosed())
        }
    }

    @Test func serverThatGoes_closesWhatIsStored() throws {
        let witness = try Witness()
        do {
            let desk = Desk()
            desk.offer(OwnedFD(adopting: dup(witness.number)))
            witness.letGo()
            #expect(desk.say("getfd", #"{"fdname":"tap"}"#) == "{}")
        }
        #expect(try witness.isClosed())
    }
}
