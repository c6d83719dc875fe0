import LinuxSys
import Testing

@testable import MachineManager

private func stream(_ value: String) throws -> VmConfig.Netdev.Stream? {
    let netdev = try #require(try parse(["-initrd", "i", "-netdev", value]).netdevs.first)
    #expect(netdev.queues == 1)
    if case .stream(let stream) = netdev.backend { return stream }
    return nil
}

@Suite struct CommandLineStreamTests {
    @Test func addresses_areOfThreeKinds() throws {
        let unix = try stream("stream,id=n,addr.type=unix,addr.path=/run/passt.sock")
        #expect(unix?.address == .unix(path: "/run/passt.sock") && unix?.isServer == false && unix?.reconnect == 0)
        #expect(try stream("stream,id=n,server=on,addr.type=inet,addr.host=127.0.0.1,addr.port=65535")?.address == .inet(host: "127.0.0.1", port: 65535))
        #expect(try stream("stream,id=n,addr.type=inet,addr.host=::1,addr.port=1")?.address == .inet(host: "::1", port: 1))
        #expect(try stream("stream,id=n,addr.type=fd,addr.str=7")?.address == .descriptor(.number(7)))
        #expect(try stream("stream,id=n,addr.type=fd,addr.str=7,server=on")?.isServer == true)
    }

    @Test func reconnect_isInSecondsOrMilliseconds() throws {
        let start = "stream,id=n,addr.type=unix,addr.path=p,"
        #expect(try stream(start + "reconnect=2")?.reconnect == 2000)
        #expect(try stream(start + "reconnect-ms=2")?.reconnect == 2)
        #expect(try stream(start + "reconnect=0")?.reconnect == 0)
        #expect(try stream(start + "reconnect=4294967")?.reconnect == 4_294_967_000)
        #expect(try stream("stream,id=n,addr.type=fd,addr.str=7,reconnect=0")?.reconnect == 0)
    }

    @Test(arguments: [
        ("stream,addr.type=unix,addr.path=p", "-netdev stream: id= is missing"),
        ("stream,id=n", "-netdev stream: addr.type= is missing"),
        ("stream,id=n,addr.type=vsock", "-netdev stream: addr.type= must be unix, inet or fd, not 'vsock'"),
        ("stream,id=n,addr.type=unix", "-netdev stream: addr.path= is missing"),
        ("stream,id=n,addr.type=inet,addr.host=127.0.0.1", "-netdev stream: addr.port= is missing"),
        ("stream,id=n,addr.type=inet,addr.port=1", "-netdev stream: addr.host= is missing"),
        ("stream,id=n,addr.type=fd", "-netdev stream: addr.str= is missing"),
        ("stream,id=n,addr.type=unix,addr.path=p,addr.port=1", "-netdev stream: addr.port= does not go with addr.type=unix"),
        ("stream,id=n,addr.type=inet,addr.host=127.0.0.1,addr.port=1,addr.str=5", "-netdev stream: addr.str= does not go with addr.type=inet"),
        ("stream,id=n,addr.type=inet,addr.host=localhost,addr.port=1", "-netdev stream: addr.host= must be a numeric IPv4 or IPv6 address, not 'localhost'"),
        ("stream,id=n,addr.type=inet,addr.host=127.0.0.1,addr.port=65536", "-netdev stream: addr.port= must be a number from 1 to 65535, not '65536'"),
        ("stream,id=n,addr.type=fd,addr.str=2", "-netdev stream: addr.str= must be the number of an open descriptor, at least 3, not '2'"),
        ("stream,id=n,addr.type=unix,addr.path=" + String(repeating: "p", count: 108), "-netdev stream: addr.path= is longer than 107 bytes"),
        ("stream,id=n,addr.type=unix,addr.path=p,reconnect=1,server=on", "-netdev stream: reconnect= and server= exclude each other"),
        ("stream,id=n,addr.type=unix,addr.path=p,reconnect=1,reconnect-ms=1", "-netdev stream: reconnect= and reconnect-ms= exclude each other"),
        ("stream,id=n,addr.type=fd,addr.str=5,reconnect=1", "-netdev stream: reconnect= needs an address; a descriptor cannot be connected again"),
        ("stream,id=n,addr.type=unix,addr.path=p,ifname=t", "-netdev stream: unknown parameter 'ifname'"),
        ("stream,id=n,addr.type=unix,addr.path=p,queues=2", "-netdev stream: unknown parameter 'queues'"),
    ])
    func wrongStreams_areRefusedInOneSentence(_ value: String, _ expected: String) {
        #expect(message(["-initrd", "i", "-netdev", value]) == expected)
    }

    @Test func aDescriptor_hasOneOwner() {
        #expect(
            message(["-initrd", "i", "-netdev", "stream,id=a,addr.type=fd,addr.str=5", "tap,id=b,fd=5"]) == "-netdev b: descriptor 5 is given twice")
    }
}
