extension OptionTable {
    /// Monitors, serial ports and what stands behind them.
    static var character: [OptionSpec] {
        let iothread = ParameterSpec("iothread", .text(OptionLimit.text), "id of an -object iothread; no effect: the main loop serves QMP")
        return [
            option(
                .qmp, "qmp", .one, .address("unix:PATH|tcp:IP:PORT"),
                [
                    ParameterSpec("server", .flag, "listen; required"),
                    ParameterSpec("nowait", .flag, "do not wait for a client; required"),
                    ParameterSpec("wait", .onlyOff, "same as nowait"),
                    iothread,
                ],
                "QMP monitor; needs server and nowait"),
            option(
                .monitor, "mon", .one, .implied("chardev"),
                [
                    ParameterSpec("chardev", .text(OptionLimit.text), required: true, "id of a -chardev socket with server and nowait"),
                    ParameterSpec("mode", .choice(["control"], later: []), required: true),
                    ParameterSpec("id", .text(OptionLimit.text)),
                    iothread,
                ],
                "QMP monitor on a character device; -qmp may be there too"),
            option(
                .serial, "serial", .one, .variants(what: "type", backends(named: false)),
                "serial port; chardev:ID takes a -chardev"),
            option(.chardev, "chardev", .many, .variants(what: "type", backends(named: true)), "character device"),
        ]
    }

    /// The back ends of `-chardev`, which have an id, and of `-serial`, which have none.
    private static func backends(named: Bool) -> [OptionVariant] {
        let id = named ? [ParameterSpec("id", .text(OptionLimit.text), required: true)] : []
        let socket = [
            ParameterSpec("path", .path(OptionLimit.socketPath), "Unix socket"),
            ParameterSpec("port", .integer(1...65535), "TCP socket"),
            ParameterSpec("host", .text(OptionLimit.text), "IPv4 address of the TCP socket; default 0.0.0.0"),
            ParameterSpec("server", .flag, "listen; else connect"),
            ParameterSpec("nowait", .flag, "do not wait for a client; a server needs it"),
            ParameterSpec("wait", .onlyOff, "same as nowait"),
        ]
        return [
            OptionVariant("stdio", "standard input and output; one user", id),
            OptionVariant("pty", "pseudo-terminal", id),
            OptionVariant("file", "output to a file", id + [ParameterSpec("path", .path(OptionLimit.path), required: true)]),
            OptionVariant("socket", "socket with path= or port=", id + socket),
            OptionVariant("redirect-to-log", "output to the log", id),
        ]
    }
}
