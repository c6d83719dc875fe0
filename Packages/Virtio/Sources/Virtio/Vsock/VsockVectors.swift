internal import Glibc
internal import LinuxSys

/// The vectors by which a call moves data between a chain and a socket. Allocated once for a session.
@safe
final class VsockVectors {
    // SAFETY: allocated for the object's life; at most `capacity` are initialized, by DescriptorChain.fill with guest RAM that it has checked.
    private let vectors: UnsafeMutablePointer<iovec>
    private let capacity: Int

    init(capacity: Int) {
        self.capacity = capacity
        unsafe vectors = .allocate(capacity: capacity)
    }

    deinit { unsafe vectors.deallocate() }

    /// How many vectors describe these bytes of the chain; 0 when it is none or too many.
    private func describe(_ chain: DescriptorChain, _ part: DescriptorChain.Part, skip: UInt64, length: Int) -> Int {
        let count = chain.segmentCount(part, skip: skip, length: UInt64(clamping: length))
        guard count <= capacity else { return 0 }
        // SAFETY: there is room for `count` vectors.
        unsafe chain.fill(vectors, part, skip: skip, length: UInt64(clamping: length))
        return count
    }

    /// What the socket takes of `length` bytes that the guest sends, or -errno. No bytes are none to the socket.
    func send(_ chain: DescriptorChain, skip: UInt64, length: Int, to socket: Int32) -> Int {
        let count = describe(chain, .readable, skip: skip, length: length)
        guard count > 0 else { return 0 }
        // SAFETY: the device's session keeps the guest RAM that the vectors name.
        return unsafe StreamIO.send(socket, vectors: vectors, count: count)
    }

    /// Puts what the socket has into at most `length` bytes of the guest's buffer: bytes, 0 at the end of the stream, or -errno. `length` is not 0.
    func receive(_ chain: DescriptorChain, skip: UInt64, length: Int, from socket: Int32) -> Int {
        let count = describe(chain, .writable, skip: skip, length: length)
        guard count > 0 else { return -Int(EAGAIN) }
        // SAFETY: as above.
        return unsafe StreamIO.receive(socket, vectors: vectors, count: count)
    }
}
