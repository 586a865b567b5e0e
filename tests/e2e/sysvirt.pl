#!/usr/bin/perl
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Makes every secret call of Sys::Virt on the URI given and prints what comes back, errors with
# their numbers. test-clients.py compares that with stock libvirtd.

use strict;
use warnings;
use Sys::Virt;
use Sys::Virt::Secret;

my $identifier = "5f0e9a9c-7a2f-4d0c-9f0e-0123456789ab";
my $xml = "<secret><uuid>$identifier</uuid><description>by perl</description>"
    . "<usage type='ceph'><name>perl</name></usage></secret>";

sub show {
    my ($name, $call) = @_;
    my @result = eval { $call->() };
    if (my $error = $@) {
        printf "%s: error %d of %d: %s\n", $name, $error->code, $error->domain, $error->message;
    } else {
        printf "%s: %s\n", $name, join(" ", map { defined $_ ? $_ : "undef" } @result);
    }
}

my $connection = Sys::Virt->new(uri => $ARGV[0]);
my $secret;

show("define", sub { $secret = $connection->define_secret($xml); "done" });
show("uuid", sub { $secret->get_uuid_string });
show("usage", sub { ($secret->get_usage_type, $secret->get_usage_id) });
show("xml", sub { $secret->get_xml_description });
show("value before", sub { $secret->get_value });
show("set value", sub { $secret->set_value("a\0b\377"); "done" });
show("value", sub { unpack("H*", $secret->get_value) });
show("number", sub { $connection->num_of_secrets });
show("list", sub { $connection->list_secret_uuids(10) });
show("list all", sub { map { $_->get_uuid_string } $connection->list_all_secrets });
show("list private", sub {
    scalar($connection->list_all_secrets(Sys::Virt::Secret::LIST_PRIVATE)) });
show("by uuid", sub { $connection->get_secret_by_uuid($identifier)->get_usage_id });
show("by usage", sub {
    $connection->get_secret_by_usage(Sys::Virt::Secret::USAGE_TYPE_CEPH, "perl")->get_uuid_string });
show("unknown usage", sub {
    $connection->get_secret_by_usage(Sys::Virt::Secret::USAGE_TYPE_VOLUME, "perl") });
show("other usage", sub {
    (my $other = $xml) =~ s/>perl</>other</;
    $connection->define_secret($other) });
show("undefine", sub { $secret->undefine; "done" });
show("undefine again", sub { $secret->undefine; "done" });
show("number after", sub { $connection->num_of_secrets });
