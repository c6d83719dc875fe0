import Foundation
import LinuxSys
import Testing

@testable import Devices

/// Bytes that are sent one by one, as a guest prints them. The test is the loop's thread.
@Suite final class CharGatherTests {
    private let loop: EventLoop
    private let stream: CharStream
    private let reader: OwnedFD
    private var received: [UInt8] = []

    init() throws {
        let pipe = Pipe()
        reader = OwnedFD(adopting: dup(pipe.fileHandleForReading.fileDescriptor))
        try reader.setNonBlocking(true)
        loop = try EventLoop()
        stream = try CharStream(patience: 1_000_000_000)
        try stream.start(on: loop, client: FakeClient())
        stream.attach(CharConnection(input: nil, output: OwnedFD(adopting: dup(pipe.fileHandleForWriting.fileDescriptor))))
        loop.runOnce(timeoutMilliseconds: 0)
    }

    /// One round of the loop. Whether something came out.
    @discardableResult
    private func round(_ milliseconds: Int32 = 0) -> Bool {
        loop.runOnce(timeoutMilliseconds: milliseconds)
        var buffer = [UInt8](repeating: 0, count: 8192)
        guard let count = try? reader.read(into: &buffer), count > 0 else { return false }
        received += buffer.prefix(count)
        return true
    }

    @Test func firstByte_isWrittenAtOnce() {
        #expect(stream.send(0x61))
        #expect(round())
        #expect(received == [0x61])
    }

    @Test func bytesThatFollow_areWrittenAtMostOnceAMillisecond_andAllOfThem() {
        let bytes = (0..<2000).map { UInt8(truncatingIfNeeded: $0) }
        let start = Clock.monotonicNanoseconds()
        var writes = 0
        for byte in bytes {
            #expect(stream.send(byte))
            if round() { writes += 1 }
        }
        let time = Clock.monotonicNanoseconds() - start
        #expect(writes <= 1 + Int(time / CharStream.gatherTime), "\(writes) writes in \(time) ns")
        // Nobody sends any more: the timer brings the rest.
        for _ in 0..<1000 where received.count < bytes.count { round(10) }
        #expect(received == bytes)
    }

    @Test func manyBytes_doNotWait() {
        #expect(stream.send(0))
        round()
        for _ in 0..<4096 { #expect(stream.send(1)) }
        round()
        #expect(received.count == 4097)
    }

    @Test func quietStream_leavesTheLoopAsleep() {
        #expect(stream.send(0x61))
        for _ in 0..<10 { round(5) }
        let start = Clock.monotonicNanoseconds()
        round(50)
        #expect(Clock.monotonicNanoseconds() - start >= 49_000_000)
    }
}
