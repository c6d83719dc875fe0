/// Every option that exists, in the order of `-help`.
///
/// Built when it is asked for and dropped after parsing: the running process keeps none of it.
enum OptionTable {
    static var all: [OptionSpec] {
        var rows = general
        rows += machine
        rows += storage
        rows += network
        rows.append(device)
        rows += objects
        rows += character
        rows += process
        rows.append(trace)
        rows += ignored
        rows += unsupported
        return rows
    }

    static func option(_ id: OptionID, _ name: String, _ arity: OptionArity, _ help: String) -> OptionSpec {
        option(id, name, arity, .whole(""), [], help)
    }

    static func option(_ id: OptionID, _ name: String, _ arity: OptionArity, _ head: OptionHead, _ help: String) -> OptionSpec {
        option(id, name, arity, head, [], help)
    }

    static func option(
        _ id: OptionID, _ name: String, _ arity: OptionArity, _ head: OptionHead, _ parameters: @autoclosure @escaping ParameterSpec.Maker,
        _ help: String
    ) -> OptionSpec {
        OptionSpec(id: id, name: name, arity: arity, head: head, makeParameters: parameters, help: help)
    }

    private static var general: [OptionSpec] {
        [
            option(.help, "h", .flag, "print this text and exit"),
            option(.help, "help", .flag, "print this text and exit"),
            option(.version, "V", .flag, "print the version and exit"),
            option(.version, "version", .flag, "print the version and exit"),
            option(.name, "name", .one, .whole("NAME"), "name of the guest, at most 255 bytes"),
            option(.uuid, "uuid", .one, .whole("UUID"), "UUID of the guest; a text that is none is ignored"),
        ]
    }

    /// What the program does with itself.
    private static var process: [OptionSpec] {
        [
            option(.freeze, "S", .flag, "do not start the vCPUs; the QMP command 'cont' starts them"),
            option(.freeze, "freeze", .flag, "same as -S"),
            option(.daemonize, "daemonize", .flag, "go to the background once the machine runs"),
            option(.pidFile, "pidfile", .one, .whole("FILE"), "write the process id to FILE, which must not exist; needs -daemonize"),
            option(.log, "D", .optional, .whole("FILE"), "write the log to FILE; without FILE, to standard error"),
            option(.disableSeccomp, "disable-seccomp", .flag, "run without a seccomp filter; this version never installs one"),
        ]
    }

    /// Options that StratoVirt accepts and ignores because libvirt or Kata Containers pass them.
    private static var ignored: [OptionSpec] {
        let text = "accepted and ignored"
        return [
            option(.ignored, "overcommit", .one, .whole("..."), text),
            option(.ignored, "no-user-config", .flag, text),
            option(.ignored, "nodefaults", .flag, text),
            option(.ignored, "no-shutdown", .flag, text),
            option(.ignored, "sandbox", .one, .whole("..."), text),
            option(.ignored, "msg", .one, .whole("..."), text),
            option(.ignored, "rtc", .one, .whole("..."), text),
            option(.ignored, "boot", .one, .whole("..."), text),
            option(.ignored, "nographic", .flag, text),
            option(.ignored, "realtime", .one, .whole("..."), text),
            option(.ignored, "display", .one, .whole("..."), text),
            option(.ignored, "usb", .flag, text),
        ]
    }

    private static var unsupported: [OptionSpec] {
        let names = [
            "incoming", "battery", "hardware-signature", "smbios", "vnc", "cameradev",
            "windows_emu_pid", "mod-test",
        ]
        return names.map { option(.unsupported, $0, .many, .whole("..."), "not supported yet") }
    }
}
