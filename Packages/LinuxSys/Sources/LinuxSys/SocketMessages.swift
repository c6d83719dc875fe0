internal import CLinuxSys
internal import Glibc

/// Descriptors in an order, such as those that a peer sent along (unix(7), SCM_RIGHTS). What nobody takes is closed with the list.
public struct DescriptorList: ~Copyable, Sendable {
    private var descriptors: [Int32] = []

    public init() {}

    deinit { for descriptor in descriptors { _ = Glibc.close(descriptor) } }

    public var count: Int { descriptors.count }
    public var isEmpty: Bool { descriptors.isEmpty }

    public mutating func append(_ file: consuming OwnedFD) { descriptors.append(file.take()) }

    /// The oldest one; nil when there is none.
    public mutating func takeFirst() -> OwnedFD? {
        descriptors.isEmpty ? nil : OwnedFD(adopting: descriptors.removeFirst())
    }

    /// The numbers of all, in their order, which are the caller's from here on.
    public mutating func takeNumbers() -> [Int32] {
        defer { descriptors = [] }
        return descriptors
    }

    /// Closes all of them.
    public mutating func removeAll() {
        for descriptor in descriptors { _ = Glibc.close(descriptor) }
        descriptors = []
    }
}

extension OwnedFD {
    /// The most descriptors that Linux carries with one message (SCM_MAX_FD).
    public static var messageDescriptorLimit: Int { Int(SYS_DESCRIPTOR_LIMIT) }

    /// Receives at most `bytes.count` bytes that are there now, and appends the descriptors that came with them (close-on-exec) to `descriptors`.
    /// 0: the peer has closed its end. EAGAIN: nothing is there. EMFILE: more descriptors came than the list may hold (`limit`) or this process may
    /// open; what came is closed, and the bytes are lost: close the connection.
    public borrowing func receive(
        into bytes: inout [UInt8], descriptors: inout DescriptorList, limit: Int = messageDescriptorLimit
    ) throws(Errno) -> Int {
        let descriptor = raw
        let capacity = max(0, min(limit &- descriptors.count, Self.messageDescriptorLimit))
        var count: Int32 = 0
        var lost: Int32 = 0
        // SAFETY: the shim writes at most `buffer.count` bytes and `capacity` numbers, and says how many numbers.
        let result: Int = unsafe withUnsafeTemporaryAllocation(of: Int32.self, capacity: max(capacity, 1)) { numbers in
            let result: Int = unsafe bytes.withUnsafeMutableBytes { buffer in
                while true {
                    let result = unsafe sys_receive_descriptors(
                        descriptor, buffer.baseAddress, buffer.count, numbers.baseAddress, Int32(truncatingIfNeeded: capacity), &count, &lost)
                    if result != -Int(EINTR) { return result }
                }
            }
            for index in 0..<Int(count) { descriptors.append(OwnedFD(adopting: unsafe numbers[index])) }
            return result
        }
        guard lost == 0 else {
            descriptors.removeAll()
            throw Errno(EMFILE)
        }
        return try check(result)
    }

    /// Sends what the socket takes now of `bytes`, from index `start` on, and with the first of them the `descriptors`, which stay the caller's (at most
    /// `messageDescriptorLimit`). Once a part is sent, send the rest without descriptors. EAGAIN when the socket takes nothing, EPIPE (and no
    /// signal) when the peer is gone.
    public borrowing func send(_ bytes: [UInt8], from start: Int = 0, descriptors: [Int32]) throws(Errno) -> Int {
        guard start >= 0, start < bytes.count else { return 0 }
        let descriptor = raw
        // SAFETY: both arrays outlive the call, which reads no more than their counts.
        return try check(unsafe bytes.withUnsafeBytes { buffer in
            unsafe descriptors.withUnsafeBufferPointer { numbers in
                while true {
                    let result = unsafe sys_send_descriptors(
                        descriptor, buffer.baseAddress.map { unsafe $0 + start }, buffer.count - start, numbers.baseAddress, Int32(clamping: numbers.count))
                    if result != -Int(EINTR) { return result }
                }
            }
        })
    }

    /// Waits until the descriptor is ready for `events`, or reports an error or a hang-up, at most `nanoseconds`: what is there, nothing when the time is over.
    public borrowing func wait(for events: EventLoop.Events, nanoseconds: UInt64) throws(Errno) -> EventLoop.Events {
        let (sum, overflow) = Clock.monotonicNanoseconds().addingReportingOverflow(nanoseconds)
        let deadline = overflow ? UInt64.max : sum
        while true {
            let now = Clock.monotonicNanoseconds()
            // poll(2) and epoll(7) number these events alike.
            let result = sys_poll_one(raw, Int16(truncatingIfNeeded: events.rawValue), Int64(clamping: deadline > now ? deadline - now : 0))
            if result == -Int(EINTR) { continue }
            return EventLoop.Events(rawValue: UInt32(truncatingIfNeeded: try check(result)))
        }
    }
}
