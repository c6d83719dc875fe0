/// Where the kernel takes operations that no thread then waits for. Owner thread only. An enumeration and not a protocol: each request passes here.
enum KernelQueue {
    case ring(Ring)
    case native(NativeQueue)

    enum SubmitResult {
        case submitted
        /// The kernel is short of memory; what is left stays prepared.
        case tryLater
        /// The kernel will not have this one, which is no longer prepared; what is behind it still is.
        case refused(userData: UInt64)
        /// The kernel refuses the call as such.
        case broken
    }

    /// Puts the rest of a transfer, or a flush, into the queue; false when the queue cannot have it.
    func prepare(_ transfer: borrowing Transfer, userData: UInt64) -> Bool {
        switch self {
        case .ring(let ring): ring.prepare(transfer, userData: userData)
        case .native(let native): native.prepare(transfer, userData: userData)
        }
    }

    /// Hands everything that was prepared to the kernel.
    func submit() -> SubmitResult {
        switch self {
        case .ring(let ring): ring.submit()
        case .native(let native): native.submit()
        }
    }

    /// The user data of what was prepared and not submitted. For a broken queue, to which `submit` is not called again.
    func forEachUnsubmitted(_ body: (UInt64) -> Void) {
        switch self {
        case .ring(let ring): ring.forEachUnsubmitted(body)
        case .native(let native): native.forEachUnsubmitted(body)
        }
    }

    /// Whether `next` has one, as far as it can be seen in the memory that is shared with the kernel.
    var hasCompletions: Bool {
        switch self {
        case .ring(let ring): ring.hasCompletions
        case .native(let native): native.hasCompletions
        }
    }

    /// The next completion, if one is there.
    func next() -> (userData: UInt64, result: Int32)? {
        switch self {
        case .ring(let ring): ring.next()
        case .native(let native): native.next()
        }
    }
}
