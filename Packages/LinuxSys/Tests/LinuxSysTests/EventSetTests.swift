import Glibc
import Testing
@testable import LinuxSys

@Suite struct EventSetTests {
    private func pair() throws -> (Int32, Int32) {
        var ends: [Int32] = [-1, -1]
        try #require(unsafe socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue), 0, &ends) == 0)
        return (ends[0], ends[1])
    }

    private func taken(_ set: EventSet) -> [UInt64: EventLoop.Events] {
        var found: [UInt64: EventLoop.Events] = [:]
        set.take { found[$0] = $1 }
        return found
    }

    @Test func once_tellsOfAChangeOnce_andAgainWhenItIsModified() throws {
        let set = try EventSet()
        let (near, far) = try pair()
        defer { close(near) }
        try set.add(near, [.readable, .once], token: 7)
        #expect(taken(set) == [:])
        #expect(unsafe write(far, "a", 1) == 1)
        #expect(taken(set) == [7: .readable])
        #expect(taken(set) == [:])
        #expect(unsafe write(far, "b", 1) == 1)
        #expect(taken(set) == [7: .readable])
        try set.modify(near, [.readable, .writable, .once], token: 8)
        #expect(taken(set) == [8: [.readable, .writable]])
        #expect(taken(set) == [:])
        close(far)
        #expect(try #require(taken(set)[8]).contains(.hangup))
        #expect(taken(set) == [:])
    }

    @Test func without_once_tellsUntilItIsServed_andNothingAfterRemove() throws {
        let set = try EventSet()
        let (near, far) = try pair()
        defer {
            close(near)
            close(far)
        }
        try set.add(near, .readable, token: .max)
        #expect(unsafe write(far, "a", 1) == 1)
        for _ in 0..<3 { #expect(taken(set) == [.max: .readable]) }
        set.remove(near)
        set.remove(near)
        #expect(taken(set) == [:])
    }

    @Test func manyReady_comeByTheHandful_eachInItsTurn() throws {
        let set = try EventSet()
        var ends: [Int32] = []
        defer { for end in ends { close(end) } }
        for token in 0..<100 as Range<UInt64> {
            let (near, far) = try pair()
            ends += [near, far]
            try set.add(near, [.readable, .once], token: token)
            #expect(unsafe write(far, "a", 1) == 1)
        }
        var seen: [UInt64] = []
        for _ in 0..<10 {
            let before = seen.count
            set.take { token, _ in seen.append(token) }
            #expect(seen.count - before <= 32)
        }
        #expect(seen.sorted() == Array(0..<100))
    }
}

@Suite struct StreamIOTests {
    /// Calls one of the two with parts of `bytes` as vectors.
    private func move(_ descriptor: Int32, _ bytes: inout [UInt8], _ parts: [Range<Int>], sends: Bool) -> Int {
        unsafe bytes.withUnsafeMutableBytes { buffer in
            let vectors = unsafe parts.map { part in unsafe iovec(iov_base: buffer.baseAddress.map { unsafe $0 + part.lowerBound }, iov_len: part.count) }
            return unsafe sends
                ? StreamIO.send(descriptor, vectors: vectors, count: vectors.count) : StreamIO.receive(descriptor, vectors: vectors, count: vectors.count)
        }
    }

    @Test func vectorsAndPeek_moveWhatIsThereAndNeverWait() throws {
        var ends: [Int32] = [-1, -1]
        try #require(unsafe socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0)
        defer { close(ends[0]) }
        var bytes = [UInt8](repeating: 0, count: 8)
        #expect(StreamIO.peek(ends[0], into: &bytes) == -Int(EAGAIN))
        var text = Array("abcdef".utf8)
        #expect(move(ends[1], &text, [0..<2, 4..<6], sends: true) == 4)
        for _ in 0..<2 {
            #expect(StreamIO.peek(ends[0], into: &bytes) == 4)
            #expect(Array(bytes[..<4]) == Array("abef".utf8))
        }
        #expect(move(ends[0], &bytes, [6..<7, 0..<6], sends: false) == 4)
        #expect(move(ends[0], &bytes, [6..<7, 0..<6], sends: false) == -Int(EAGAIN))
        #expect(bytes[6] == UInt8(ascii: "a") && Array(bytes[..<3]) == Array("bef".utf8))
        StreamIO.shutDown(ends[1], receiving: false, sending: true)
        #expect(StreamIO.peek(ends[0], into: &bytes) == 0)
        // The other direction is open still.
        #expect(move(ends[0], &text, [0..<1], sends: true) == 1)
        #expect(move(ends[1], &bytes, [0..<8], sends: false) == 1)
        close(ends[1])
        // No SIGPIPE: the process lives.
        #expect(move(ends[0], &text, [0..<1], sends: true) == -Int(EPIPE))
    }

    @Test func descriptorLimit_isRaisedAsFarAsItGoes_andNeverLowered() throws {
        let before = DescriptorLimit.raise(to: 0)
        #expect(before > 0)
        #expect(DescriptorLimit.raise(to: 1) == before)
        let raised = DescriptorLimit.raise(to: before + 1)
        #expect(raised == before || raised == before + 1)
        #expect(DescriptorLimit.raise(to: 1) == raised)
    }
}
