internal import Glibc
internal import LinuxSys

/// What the guest has sent and the host's socket has not taken yet: a ring whose pages go with it. Exists only while something waits.
@safe
struct VsockBuffer: ~Copyable {
    private let memory: MemoryMapping
    private var start = 0
    private(set) var count = 0

    /// `capacity`: bytes, not 0.
    init(capacity: Int) throws(Errno) { memory = try .anonymous(size: capacity) }

    var isEmpty: Bool { count == 0 }

    /// Takes `length` bytes of the readable part of a chain from byte `skip` on; false, and nothing changes, when they do not fit.
    mutating func append(_ chain: DescriptorChain, skip: UInt64, length: Int) -> Bool {
        guard length >= 0, length <= memory.size &- count else { return false }
        var place = (start &+ count) % memory.size
        var done = 0
        chain.forEach(.readable, skip: skip, length: UInt64(length)) { address, size in
            guard let source = unsafe UnsafeRawPointer(bitPattern: address) else { return }
            let first = min(size, memory.size &- place)
            // SAFETY: the pieces add up to at most `length` bytes, for which there is room; `place` and `first` stay inside the mapping. The source is guest
            // RAM that the device's session keeps mapped; the guest may write it meanwhile, which changes what is copied and nothing else.
            unsafe (memory.base + place).copyMemory(from: source, byteCount: first)
            unsafe memory.base.copyMemory(from: source + first, byteCount: size &- first)
            place = (place &+ size) % memory.size
            done &+= size
        }
        count &+= done
        return done == length
    }

    /// Gives the socket what it takes now: bytes, or -errno.
    mutating func send(to socket: Int32) -> Int {
        guard count > 0 else { return 0 }
        let first = min(count, memory.size &- start)
        let result = unsafe withUnsafeTemporaryAllocation(of: iovec.self, capacity: 2) { vectors -> Int in
            guard let vector = vectors.baseAddress else { return -Int(ENOMEM) }
            // SAFETY: both describe parts of the mapping, which together hold `count` bytes.
            unsafe vector.initialize(to: iovec(iov_base: memory.base + start, iov_len: first))
            unsafe (vector + 1).initialize(to: iovec(iov_base: memory.base, iov_len: count &- first))
            return unsafe StreamIO.send(socket, vectors: vector, count: first < count ? 2 : 1)
        }
        if result > 0 {
            count &-= min(result, count)
            start = count == 0 ? 0 : (start &+ result) % memory.size
        }
        return result
    }
}
