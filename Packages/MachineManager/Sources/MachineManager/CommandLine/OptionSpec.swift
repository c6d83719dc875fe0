/// One row of the option table. The parser and the `-help` text both read it, so they cannot differ.
struct OptionSpec: Sendable {
    let id: OptionID
    /// Without the dash.
    let name: String
    let arity: OptionArity
    let head: OptionHead
    let makeParameters: ParameterSpec.Maker
    let help: String

    var parameters: [ParameterSpec] { makeParameters() }
}

/// What the builder does with an option. Several names may share one meaning (`-S` and `-freeze`).
enum OptionID: Sendable, Equatable {
    case help, version
    case machine, accelerator, smp, cpu, memory, memoryPath, memoryPreallocation, numa
    case kernel, initrd, append
    case drive, netdev, device, object, global
    case qmp, monitor, serial, chardev
    case name, uuid, freeze, disableSeccomp, log, daemonize, pidFile, trace
    /// Accepted without effect, as StratoVirt does, because libvirt or Kata Containers pass it.
    case ignored
    /// Known, and refused by this version.
    case unsupported
}

enum OptionArity: Sendable, Equatable {
    /// No value.
    case flag
    /// Exactly one value, given once.
    case one
    /// No value or one, given once.
    case optional
    /// One value or more each time, given any number of times.
    case many
}

/// What the first comma-separated token of a value is.
enum OptionHead: Sendable {
    /// The value has no parameters: the whole of it is the value, commas included. The text is the placeholder in `-help`.
    case whole(String)
    /// Every token is a parameter.
    case none
    /// A first token without `=` is the value of this parameter (`-smp 4` is `-smp cpus=4`).
    case implied(String)
    /// The first token chooses a variant that has parameters of its own (`-device virtio-blk-device,...`). `what` names it in messages.
    case variants(what: String, [OptionVariant])
    /// The first token has its own syntax, shown in `-help` by this text (`unix:PATH`).
    case address(String)
}

/// A kind of device, character device and so on.
struct OptionVariant: Sendable {
    let name: String
    let help: String
    let isSupported: Bool
    private let makeParameters: ParameterSpec.Maker

    init(_ name: String, _ help: String, _ parameters: @autoclosure @escaping ParameterSpec.Maker) {
        self.name = name
        self.help = help
        makeParameters = parameters
        isSupported = true
    }

    var parameters: [ParameterSpec] { makeParameters() }

    /// A variant that is known and refused.
    init(unsupported name: String) {
        self.name = name
        help = ""
        makeParameters = { [] }
        isSupported = false
    }
}

/// One `key=value` of an option.
struct ParameterSpec: Sendable {
    /// Parameters are made when they are asked for: there are hundreds, and one command line is about few of them.
    typealias Maker = @Sendable () -> [ParameterSpec]

    let key: String
    let kind: ParameterKind
    let isRequired: Bool
    /// Ends the line of `-help`: the default, or what the parameter does.
    let help: String

    init(_ key: String, _ kind: ParameterKind, required: Bool = false, _ help: String = "") {
        self.key = key
        self.kind = kind
        isRequired = required
        self.help = help
    }
}

enum ParameterKind: Sendable {
    /// on, true, yes, unmap or off, false, no, ignore. The last one wins when it is repeated.
    case onOff
    /// As `onOff`, or the bare key, which means on.
    case flag
    /// As `onOff`, but only the "off" values work in this version.
    case onlyOff
    /// A decimal number within limits.
    case integer(ClosedRange<UInt64>)
    /// As `integer`, and a power of two.
    case powerOfTwo(ClosedRange<UInt64>)
    /// As `integer`; "auto" means zero.
    case integerOrAuto(ClosedRange<UInt64>)
    /// A size in bytes, written as a decimal number with an optional suffix K, M (the default) or G.
    case size(ClosedRange<UInt64>)
    /// Decimal numbers within limits: `0-3:8` is 0, 1, 2, 3 and 8; square brackets may be around it.
    case numbers(ClosedRange<UInt64>)
    /// A guest physical address below 2^52: a decimal number, or a hexadecimal one after `0x`.
    case address
    /// Text of at most so many bytes.
    case text(Int)
    /// A file name of at most so many bytes.
    case path(Int)
    /// One of some words, without regard to case; `later` holds those that are known and refused.
    case choice([String], later: [String])
    /// The number of a descriptor that was open when the program started; in QMP also the name of one that was sent.
    case descriptor
    /// Several of them with colons between, at most `VmConfig.maximumQueuePairs`.
    case descriptors
    /// The name of a network interface.
    case interface
    /// A station's Ethernet address.
    case mac
    /// Text that has no effect.
    case ignored
    /// Known and refused whatever its value is.
    case unsupported
    /// Known, and wrong in this place for good; the text says what it is for.
    case misplaced(String)
}

/// Limits that several options share. All are in bytes.
enum OptionLimit {
    /// Names and ids.
    static let text = 255
    /// PATH_MAX less the final NUL (limits.h).
    static let path = 4095
    /// `sun_path` less the final NUL (unix(7)).
    static let socketPath = 107
    /// The same with room for `_` and a port of 32 bits.
    static let vsockPath = 96
    /// VIRTIO_BLK_ID_BYTES (virtio 1.2, section 5.2.6).
    static let blockSerial = 20
    /// The tag of the configuration space (virtio 1.2, section 5.11.4).
    static let fileSystemTag = 36
    /// IFNAMSIZ less the final NUL (linux/if.h).
    static let interface = 15
}
