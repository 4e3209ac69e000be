// SPDX-License-Identifier: MIT OR GPL-2.0
/*
 * The generic netlink family that IrDA had until it left Linux in 4.17, without the infrared: two commands, one of them
 * for administrators alone, and a policy of two attributes. Tests look at it with `droptrace netlink family irda`.
 */
#include <linux/if.h>
#include <linux/module.h>
#include <linux/netdevice.h>
#include <net/genetlink.h>

#define IRDA_NL_NAME "irda"
#define IRDA_NL_VERSION 1

enum irda_nl_commands {
	IRDA_NL_CMD_UNSPEC,
	IRDA_NL_CMD_SET_MODE,
	IRDA_NL_CMD_GET_MODE,
};

enum irda_nl_attrs {
	IRDA_NL_ATTR_UNSPEC,
	IRDA_NL_ATTR_IFNAME,
	IRDA_NL_ATTR_MODE,

	__IRDA_NL_ATTR_AFTER_LAST
};
#define IRDA_NL_ATTR_MAX (__IRDA_NL_ATTR_AFTER_LAST - 1)

static struct genl_family irda_nl_family;

/* What was set last, of any interface. Generic netlink runs one command at a time. */
static u32 mode;

static bool names_an_interface(struct genl_info *info)
{
	struct nlattr *name = info->attrs[IRDA_NL_ATTR_IFNAME];
	struct net_device *device = name ? dev_get_by_name(&init_net, nla_data(name)) : NULL;

	dev_put(device);
	return device;
}

static int irda_nl_set_mode(struct sk_buff *skb, struct genl_info *info)
{
	if (!names_an_interface(info))
		return -ENODEV;
	if (!info->attrs[IRDA_NL_ATTR_MODE])
		return -EINVAL;
	mode = nla_get_u32(info->attrs[IRDA_NL_ATTR_MODE]);
	return 0;
}

static int irda_nl_get_mode(struct sk_buff *skb, struct genl_info *info)
{
	struct sk_buff *answer;
	void *header;

	if (!names_an_interface(info))
		return -ENODEV;
	answer = nlmsg_new(NLMSG_DEFAULT_SIZE, GFP_KERNEL);
	if (!answer)
		return -ENOMEM;
	header = genlmsg_put_reply(answer, info, &irda_nl_family, 0, IRDA_NL_CMD_GET_MODE);
	if (!header || nla_put_string(answer, IRDA_NL_ATTR_IFNAME, nla_data(info->attrs[IRDA_NL_ATTR_IFNAME])) ||
	    nla_put_u32(answer, IRDA_NL_ATTR_MODE, mode)) {
		nlmsg_free(answer);
		return -EMSGSIZE;
	}
	genlmsg_end(answer, header);
	return genlmsg_reply(answer, info);
}

static const struct nla_policy irda_nl_policy[IRDA_NL_ATTR_MAX + 1] = {
	[IRDA_NL_ATTR_IFNAME] = { .type = NLA_NUL_STRING, .len = IFNAMSIZ - 1 },
	[IRDA_NL_ATTR_MODE] = { .type = NLA_U32 },
};

static const struct genl_small_ops irda_nl_ops[] = {
	{
		.cmd = IRDA_NL_CMD_SET_MODE,
		.doit = irda_nl_set_mode,
		.flags = GENL_ADMIN_PERM,
	},
	{
		.cmd = IRDA_NL_CMD_GET_MODE,
		.doit = irda_nl_get_mode,
	},
};

static struct genl_family irda_nl_family = {
	.name = IRDA_NL_NAME,
	.version = IRDA_NL_VERSION,
	.maxattr = IRDA_NL_ATTR_MAX,
	.policy = irda_nl_policy,
	.module = THIS_MODULE,
	.small_ops = irda_nl_ops,
	.n_small_ops = ARRAY_SIZE(irda_nl_ops),
};

static int __init irda_init(void)
{
	return genl_register_family(&irda_nl_family);
}

static void __exit irda_exit(void)
{
	genl_unregister_family(&irda_nl_family);
}

module_init(irda_init);
module_exit(irda_exit);

MODULE_DESCRIPTION("The generic netlink family of IrDA, for tests");
MODULE_LICENSE("Dual MIT/GPL");
