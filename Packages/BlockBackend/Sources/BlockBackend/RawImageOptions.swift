/// How a raw image is opened.
public struct RawImageOptions: Equatable, Sendable {
    /// Who runs the operations.
    public enum Engine: Equatable, Sendable {
        /// io_uring where the kernel offers it, else threads.
        case auto
        /// io_uring, or an error.
        case ioUring
        /// A few threads that make blocking calls.
        case threads
        /// Linux AIO, or an error. Direct images only.
        case native
        /// One thread that makes blocking calls, one after the other. It is not the owner's: a slow disk must hold up nothing else.
        case off
    }

    /// What becomes of writes whose data is all zeros.
    public enum ZeroDetection: Equatable, Sendable {
        case off
        /// They become `.writeZeroes`, which file systems do without writing.
        case on
        /// And where `discard` is set, they free the range's space.
        case unmap
    }

    /// A regular file or a block device. The content is raw whatever it looks like: a format is never probed, because the guest
    /// could write another format's header, naming a host file, into the first sector.
    public var path: String
    /// Opens the file for reading only, so that not even a broken monitor can change it.
    public var readOnly: Bool
    /// O_DIRECT: past the host's page cache.
    public var direct: Bool
    public var engine: Engine
    /// `discard=unmap`: discards, and zero writes that permit it, free the host's space.
    public var discard: Bool
    public var zeroDetection: ZeroDetection
    /// Flushes do nothing: what the guest has written is lost with the host's power, or torn. For images that are thrown away.
    public var ignoresFlushes: Bool
    public var throttle: ThrottleLimits
    /// Reads or writes that one system call does, if they are adjacent and submitted one after the other; 1...32, 1 for none.
    public var mergeLimit: Int
    /// Operations in flight at most; brought into 1...1024.
    public var inFlightLimit: Int
    /// Threads at most, started when they are needed and ended when they are not: all the work of the threads engine, of which each waits for one operation. The
    /// other engines have at most four, for discards, zero writes and unaligned direct I/O. Brought into 1...16.
    public var threadLimit: Int

    public init(
        path: String, readOnly: Bool = false, direct: Bool = false, engine: Engine = .auto, discard: Bool = false,
        zeroDetection: ZeroDetection = .off, ignoresFlushes: Bool = false, throttle: ThrottleLimits = ThrottleLimits(), mergeLimit: Int = 32,
        inFlightLimit: Int = 128, threadLimit: Int = 16
    ) {
        self.path = path
        self.readOnly = readOnly
        self.direct = direct
        self.engine = engine
        self.discard = discard
        self.zeroDetection = zeroDetection
        self.ignoresFlushes = ignoresFlushes
        self.throttle = throttle
        self.mergeLimit = min(max(mergeLimit, 1), 32)
        self.inFlightLimit = min(max(inFlightLimit, 1), 1024)
        self.threadLimit = min(max(threadLimit, 1), 16)
    }
}
